-- Members whose keys were reported lost. Certificates issued before `lost_at_ms` count no more. `resume_at_ms`: when the member's new
-- keys take effect and its suspension ends by itself; null before it has new ones, or when the operator said otherwise.
-- Times are milliseconds UTC.
CREATE TABLE lost_keys (
  organisation TEXT NOT NULL PRIMARY KEY,
  lost_at_ms BIGINT NOT NULL,
  resume_at_ms BIGINT
);
