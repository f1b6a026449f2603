-- Members that have told every stop again since the gateway came back from a backup: in which epoch of its log. What it had taken of a member
-- before that epoch is delivered only then.
CREATE TABLE stops_told (
  organisation TEXT NOT NULL PRIMARY KEY,
  epoch BIGINT NOT NULL
);
