//! What can go wrong in a store, told apart by what the caller can do about it.
//! Made only by the store's own doors; use-cases match on `Unique` and pass the rest on.
//! Never carries a stored or bound value: neither in its text nor in its `Debug`.

use std::fmt;

use kith_proto::problem::Problem;
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::migrate::MigrateError;

/// Why a store call did not do its work. Cheap to clone, so that one failed batch can answer all its callers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database is busy or out of reach; the same call may be made again later.
    #[error("the database is busy or out of reach ({0})")]
    Unavailable(Cause),
    /// The database was written by a newer or an altered version of this program; install that version.
    #[error(
        "the database was written by a newer version of this program, so nothing was changed; install that version"
    )]
    Newer,
    /// The database belongs to another organisation, network or product, or to no Kith program at all; correct the path or URL.
    #[error(
        "the database belongs to another organisation, network or program, so nothing was changed; name the one that is yours"
    )]
    Foreign,
    /// Another process holds the database while this one wants to open it.
    #[error(
        "another process holds the database, so nothing was changed; stop it or wait for it, then try again"
    )]
    Locked,
    /// A stored row breaks an invariant: a fault in this program, or a hand in the database.
    #[error("a row of {table} cannot be read: column {column}")]
    Corrupt {
        /// The table, as in the migrations.
        table: &'static str,
        /// The column, as in the migrations.
        column: &'static str,
    },
    /// A row with this key exists already.
    #[error("a row with this key exists already")]
    Unique,
    /// A statement of this transaction failed and the closure went on regardless, so nothing was kept.
    /// The two databases differ in what would be left, so it is refused on both: a fault in this program.
    #[error("a failed statement was passed over, so the transaction was given up")]
    Abandoned,
    /// The URL cannot be read, or a statement was refused: a fault in this program or its configuration.
    #[error("the database refused ({0})")]
    Failed(Cause),
}

/// What the database said, without any value: a fixed word, its code, and its text where that names only the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    what: &'static str,
    code: Option<Box<str>>,
    text: Option<Box<str>>,
}

impl StoreError {
    /// The problem a caller is told.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Unique => Problem::Conflict,
            Self::Unavailable(_)
            | Self::Newer
            | Self::Foreign
            | Self::Locked
            | Self::Corrupt { .. }
            | Self::Abandoned
            | Self::Failed(_) => Problem::Unavailable,
        }
    }

    /// Whether any other rows would have met it as well; if not, it is about what these rows hold.
    pub fn is_of_the_whole_store(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Newer | Self::Foreign | Self::Locked
        )
    }

    pub(crate) fn failed(what: &'static str) -> Self {
        Self::Failed(Cause {
            what,
            code: None,
            text: None,
        })
    }

    pub(crate) fn unavailable(what: &'static str) -> Self {
        Self::Unavailable(Cause {
            what,
            code: None,
            text: None,
        })
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Database(error) if error.kind() == ErrorKind::UniqueViolation => Self::Unique,
            E::Database(error) if is_busy(&*error) => Self::Unavailable(Cause::of(&*error)),
            E::Database(error) => Self::Failed(Cause::of(&*error)),
            E::Io(error) => Self::Unavailable(Cause {
                what: "connection",
                code: None,
                text: Some(error.kind().to_string().into()),
            }),
            E::Tls(_) => Self::unavailable("tls"),
            E::Protocol(_) => Self::unavailable("protocol"),
            E::PoolTimedOut => Self::unavailable("no free connection"),
            E::PoolClosed => Self::unavailable("closed"),
            E::WorkerCrashed => Self::unavailable("worker gone"),
            E::BeginFailed => Self::unavailable("begin"),
            E::Migrate(error) => Self::from(*error),
            E::Configuration(_) => Self::failed("url"),
            E::RowNotFound => Self::failed("row not found"),
            E::ColumnNotFound(_) | E::ColumnIndexOutOfBounds { .. } => Self::failed("column not found"),
            E::ColumnDecode { .. } | E::Decode(_) | E::TypeNotFound { .. } => Self::failed("decode"),
            E::Encode(_) | E::InvalidArgument(_) => Self::failed("encode"),
            E::AnyDriverError(_) => Self::failed("type"),
            _ => Self::failed("driver"),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => Self::from(error),
            MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => Self::Newer,
            _ => Self::failed("migration"),
        }
    }
}

impl Cause {
    fn of(error: &dyn DatabaseError) -> Self {
        let what = match error.kind() {
            ErrorKind::ForeignKeyViolation => "foreign key",
            ErrorKind::NotNullViolation => "not null",
            ErrorKind::CheckViolation => "check",
            _ => "statement",
        };
        let code = error.code().map(|code| code.into_owned());
        let text = code
            .as_deref()
            .is_some_and(text_names_only_the_schema)
            .then(|| error.message().into());
        Self {
            what,
            code: code.map(String::into_boxed_str),
            text,
        }
    }

    /// Whether the file holds something else than a database: SQLite's NOTADB (26).
    pub(crate) fn is_no_database(&self) -> bool {
        self.code.as_deref().and_then(sqlite_primary) == Some(26)
    }

    /// Whether another process or transaction held what was wanted, PostgreSQL's 55P03 (lock timeout) included.
    pub(crate) fn is_held_by_another(&self) -> bool {
        self.code
            .as_deref()
            .is_some_and(|code| code == "55P03" || code_is_in_the_way(code))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        if let Some(code) = &self.code {
            write!(f, ", code {code}")?;
        }
        self.text.as_ref().map_or(Ok(()), |text| write!(f, ", {text}"))
    }
}

/// Whether running the whole transaction again may help: another transaction was in the way, or the connection broke
/// before the commit.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => is_in_the_way(&**error),
        _ => false,
    }
}

/// Whether a commit was refused because of another transaction, so that nothing of it was kept.
pub(crate) fn is_refused_commit(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if is_in_the_way(&**error))
}

fn is_in_the_way(error: &dyn DatabaseError) -> bool {
    error.code().as_deref().is_some_and(code_is_in_the_way)
}

/// PostgreSQL 40001 serialization failure, 40P01 deadlock; SQLite BUSY (5) and LOCKED (6) with their extensions.
fn code_is_in_the_way(code: &str) -> bool {
    matches!(code, "40001" | "40P01") || matches!(sqlite_primary(code), Some(5 | 6))
}

/// In the way, or out of reach: PostgreSQL classes 08 connection, 53 resources, 57 operator, and 55P03 lock timeout;
/// SQLite IOERR (10), FULL (13) and CANTOPEN (14).
fn is_busy(error: &dyn DatabaseError) -> bool {
    let code = error.code();
    let code = code.as_deref().unwrap_or_default();
    is_in_the_way(error)
        || code == "55P03"
        || matches!(postgres_class(code), Some("08" | "53" | "57"))
        || matches!(sqlite_primary(code), Some(10 | 13 | 14))
}

/// SQLite never puts a bound value into a message. PostgreSQL does so in class 22 (bad data) and where a function
/// raises, so only these classes may speak: 08, 0A, 23 (names the constraint), 25, 26, 3D, 3F, 40, 42, 53, 54, 55, 57, 58.
fn text_names_only_the_schema(code: &str) -> bool {
    const SPEAKING: [&str; 14] = [
        "08", "0A", "23", "25", "26", "3D", "3F", "40", "42", "53", "54", "55", "57", "58",
    ];
    postgres_class(code).is_none_or(|class| SPEAKING.contains(&class))
}

/// PostgreSQL codes have five characters, of which the first two are the class; SQLite's have at most four digits.
fn postgres_class(code: &str) -> Option<&str> {
    (code.len() == 5).then(|| code.get(..2)).flatten()
}

fn sqlite_primary(code: &str) -> Option<u32> {
    if code.len() == 5 {
        None
    } else {
        code.parse::<u32>().ok().map(|code| code & 0xff)
    }
}
