-- When each of the slow timers last ran: the hourly tidying (`prune`) and the daily epoch rotation (`rotate`).
CREATE TABLE timer (
    name TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL
);
