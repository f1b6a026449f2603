CREATE TABLE thing (
  id BYTEA NOT NULL PRIMARY KEY,
  n BIGINT NOT NULL,
  body BYTEA,
  word TEXT CHECK (word IN ('one', 'two'))
);
