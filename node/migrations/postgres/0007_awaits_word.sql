-- Whether this node came back from a backup and the member that captured the consent has not returned the thread since: it may have ended
-- meanwhile, so that nothing of what was shared is opened until then.
ALTER TABLE referral ADD COLUMN awaits_word BIGINT NOT NULL DEFAULT 0;
