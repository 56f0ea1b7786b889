-- Answers kept for repeated requests are found by age when they have had their time.
CREATE INDEX idempotent_answers_by_age ON idempotent_answers (created_at);
