//! Direct SQLite (no sqlx) plus the group-committing writer thread that the pipeline uses.
use libsqlite3_sys as ffi;
use std::ffi::{CStr, CString};
use std::path::Path;
use std::ptr::null_mut;
use tokio::sync::{mpsc, oneshot};

pub struct Db(*mut ffi::sqlite3);
unsafe impl Send for Db {}
pub struct Stmt(*mut ffi::sqlite3_stmt);
unsafe impl Send for Stmt {}


impl Db {
    pub fn open(path: &Path) -> Db {
        let mut db = null_mut();
        let c = CString::new(path.to_str().unwrap()).unwrap();
        let flags = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE | ffi::SQLITE_OPEN_NOMUTEX;
        assert_eq!(unsafe { ffi::sqlite3_open_v2(c.as_ptr(), &mut db, flags, std::ptr::null()) }, 0);
        let d = Db(db);
        d.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;");
        d.exec("CREATE TABLE IF NOT EXISTS msg(id INTEGER PRIMARY KEY, body BLOB NOT NULL, state INTEGER NOT NULL DEFAULT 0)");
        d.exec("CREATE TABLE IF NOT EXISTS audit(seq INTEGER PRIMARY KEY, id INTEGER, kind INTEGER, head BLOB)");
        d
    }
    pub fn exec(&self, sql: &str) {
        let c = CString::new(sql).unwrap();
        let rc = unsafe { ffi::sqlite3_exec(self.0, c.as_ptr(), None, null_mut(), null_mut()) };
        assert_eq!(rc, 0, "{sql}: {}", unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(self.0)) }.to_string_lossy());
    }
    pub fn prepare(&self, sql: &str) -> Stmt {
        let c = CString::new(sql).unwrap();
        let mut s = null_mut();
        let rc = unsafe { ffi::sqlite3_prepare_v2(self.0, c.as_ptr(), -1, &mut s, null_mut()) };
        assert_eq!(rc, 0, "{sql}");
        Stmt(s)
    }
}
impl Drop for Db {
    fn drop(&mut self) {
        unsafe { ffi::sqlite3_close(self.0) };
    }
}
impl Drop for Stmt {
    fn drop(&mut self) {
        unsafe { ffi::sqlite3_finalize(self.0) };
    }
}
impl Stmt {
    pub fn int(&mut self, i: i32, v: i64) -> &mut Self {
        unsafe { ffi::sqlite3_bind_int64(self.0, i, v) };
        self
    }
    pub fn blob(&mut self, i: i32, v: &[u8]) -> &mut Self {
        unsafe { ffi::sqlite3_bind_blob(self.0, i, v.as_ptr() as *const _, v.len() as i32, None) };
        self
    }
    pub fn run(&mut self) {
        let rc = unsafe { ffi::sqlite3_step(self.0) };
        assert!(rc == ffi::SQLITE_DONE || rc == ffi::SQLITE_ROW, "step rc {rc}");
        unsafe { ffi::sqlite3_reset(self.0) };
    }
}

pub enum Op {
    Insert(i64, prost::bytes::Bytes),
    Mark(i64),
}
type Job = (Op, oneshot::Sender<()>);

#[derive(Clone)]
pub struct Writer(mpsc::UnboundedSender<Job>);

impl Writer {
    /// One thread owns the connection; everything queued while a commit was in progress goes into the next one.
    pub fn start(path: &Path, max_batch: usize) -> Writer {
        let db = Db::open(path);
        let (tx, mut rx) = mpsc::unbounded_channel::<Job>();
        std::thread::spawn(move || {
            let (mut begin, mut commit) = (db.prepare("BEGIN IMMEDIATE"), db.prepare("COMMIT"));
            let mut ins = db.prepare("INSERT INTO msg(id, body) VALUES(?1, ?2)");
            let mut mark = db.prepare("UPDATE msg SET state = 1 WHERE id = ?1");
            let mut aud = db.prepare("INSERT INTO audit(id, kind, head) VALUES(?1, ?2, ?3)");
            let mut head = [0u8; 32];
            let mut waiting = Vec::with_capacity(max_batch);
            while let Some(first) = rx.blocking_recv() {
                begin.run();
                let mut next = Some(first);
                while let Some((op, done)) = next.take() {
                    let (id, kind) = match &op {
                        Op::Insert(id, body) => {
                            ins.int(1, *id).blob(2, body).run();
                            head = chain(&head, *id, body);
                            (*id, 0)
                        }
                        Op::Mark(id) => {
                            mark.int(1, *id).run();
                            head = chain(&head, *id, b"delivered");
                            (*id, 1)
                        }
                    };
                    aud.int(1, id).int(2, kind).blob(3, &head).run();
                    waiting.push(done);
                    if waiting.len() < max_batch {
                        next = rx.try_recv().ok();
                    }
                }
                commit.run();
                for d in waiting.drain(..) {
                    let _ = d.send(());
                }
            }
        });
        Writer(tx)
    }
    pub async fn put(&self, op: Op) {
        let (tx, rx) = oneshot::channel();
        self.0.send((op, tx)).ok().expect("writer gone");
        rx.await.expect("writer died");
    }
}

fn chain(prev: &[u8; 32], id: i64, body: &[u8]) -> [u8; 32] {
    use aws_lc_rs::digest;
    let mut c = digest::Context::new(&digest::SHA256);
    c.update(prev);
    c.update(&id.to_le_bytes());
    c.update(digest::digest(&digest::SHA256, body).as_ref());
    c.finish().as_ref().try_into().unwrap()
}
