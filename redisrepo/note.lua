-- Adds a note to a user's, keeps the cached list of his groups right, and wakes the instances that have connections of
-- his.
--
-- KEYS   1 notes:<user>  2 mine:<user>
-- ARGV   1 notes kept  2 TTL of notes in ms  3 channel of the user
--        4 group that he is in now ('' = none)  5 group that he is not in any more ('' = none)
--        then the note: field, value, …
-- RETURN the note's id

if redis.call('EXISTS', KEYS[2]) == 1 then
  if ARGV[4] ~= '' then redis.call('SADD', KEYS[2], ARGV[4]) end
  if ARGV[5] ~= '' then redis.call('SREM', KEYS[2], ARGV[5]) end
end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], '*', unpack(ARGV, 6))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], 'n')
return id
