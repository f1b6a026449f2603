//! The bare pipeline: the lower bound that Kith's throughput is compared with. No consent, no lifecycle, no people.
//! cargo run --release -- [--reps N] [--patience S]
mod db;
mod grpc;
mod pipeline;
mod quiet;
mod stats;

pub fn payload(n: usize) -> Vec<u8> {
    let mut x = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..n).map(|_| next()).collect()
}

fn main() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if args.first().map(String::as_str) == Some("role") {
        let dir = std::path::PathBuf::from(&args[2]);
        let port: u16 = args[3].parse().unwrap();
        // never outlive the measuring process
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        rt.block_on(async {
            match args[1].as_str() {
                "gateway" => grpc::serve(&dir, port, pipeline::Gateway::new(&dir)).await,
                "nodeb" => pipeline::node_b(&dir, port).await,
                "nodea" => grpc::serve(&dir, port, pipeline::NodeA::new(&dir, args[4].parse().unwrap()).await).await,
                role => panic!("role {role}"),
            }
        });
        return;
    }
    let opt = |name: &str, or: &str| {
        let found = args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
        found.map_or(or.to_string(), Clone::clone)
    };
    let reps: usize = opt("--reps", "3").parse().unwrap();
    quiet::PATIENCE_S.store(opt("--patience", "0").parse().unwrap(), std::sync::atomic::Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("kith-bare-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    grpc::make_certs(&dir);
    let mut rep = stats::Report::default();
    rt.block_on(pipeline::bench(&mut rep, &dir, reps));
    let _ = std::fs::remove_dir_all(&dir);
    println!("{}", rep.markdown());
}
