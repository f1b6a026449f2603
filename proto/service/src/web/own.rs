//! The files that every page uses: style, script and icon, under a name that changes with what is in them, so that a browser keeps them for ever.
//! Called by the frame for their names, by an edge to serve them.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::IntoResponse as _;
use axum::routing::get;
use data_encoding::BASE32_NOPAD;
use kith_proto::sign::sha256;

/// A file of the pages.
pub struct Own {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
    path: LazyLock<String>,
}

macro_rules! own {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $kind:literal;)+) => {
        $($(#[$doc])* pub static $id: Own = Own {
            name: $name,
            kind: $kind,
            text: include_str!(concat!("../../web/", $name)),
            path: LazyLock::new(|| $id.make_path()),
        };)+

        const ALL: &[&Own] = &[$(&$id,)+];
    };
}

own! {
    /// The style sheet.
    STYLE = "style.css", "text/css; charset=utf-8";
    /// The script, without which everything works as well.
    SCRIPT = "comfort.js", "text/javascript; charset=utf-8";
    /// The icon.
    ICON = "icon.svg", "image/svg+xml";
}

impl Own {
    /// Where it is.
    pub fn path(&'static self) -> &'static str {
        &self.path
    }

    fn make_path(&self) -> String {
        let hash = BASE32_NOPAD.encode(&sha256(&[self.text.as_bytes()]));
        let mark: String = hash.chars().take(12).collect();
        format!("/own/{}/{}", mark.to_ascii_lowercase(), self.name)
    }
}

/// The routes of these files. They are the same for everybody and say nothing about anybody.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new();
    for own in ALL {
        let serve = get(|| async {
            let headers = [
                (CONTENT_TYPE, own.kind),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, own.text).into_response()
        });
        router = router.route(own.path(), serve);
    }
    router
}
