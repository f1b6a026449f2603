-- Members whose keys were reported lost, and how many bindings their chain had then: keys up to that number sign nothing more, and only a
-- certificate for the TLS key in `member.tls_key_hash` counts, which a later binding of the registrar's brought. `resume_at_ms`: when those
-- keys take effect and the suspension ends by itself; null before there are any, or when the operator said otherwise.
-- Times are milliseconds UTC.
CREATE TABLE lost_keys (
  organisation TEXT NOT NULL PRIMARY KEY,
  lost_at_ms INTEGER NOT NULL,
  bindings INTEGER NOT NULL,
  resume_at_ms INTEGER
);
