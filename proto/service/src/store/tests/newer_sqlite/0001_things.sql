CREATE TABLE thing (
  id BLOB NOT NULL PRIMARY KEY,
  n INTEGER NOT NULL,
  body BLOB,
  word TEXT CHECK (word IN ('one', 'two'))
);
