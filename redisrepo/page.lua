-- Reads a part of a snapshot of a ranking. Who reads its beginning may page on: it is kept for that, and no shorter than it
-- was to be kept.
--
-- KEYS   1 hot:<type>:<id>: total, time, and the lines in pieces that are named 0, 1, …
-- ARGV   1 how long it can be paged through from now on, in ms; 0 where this is not its beginning
--        then the pieces
-- RETURN {total, time, piece, …}; none when it is gone. A piece beyond the end is missing

local answer = redis.call('HMGET', KEYS[1], 'total', 'time', unpack(ARGV, 2))
if not answer[1] then return {} end
if tonumber(ARGV[1]) > math.max(0, redis.call('PTTL', KEYS[1])) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return answer
