-- Reads a part of a snapshot of a ranking. Who is shown its beginning may page on: it is kept for that.
--
-- KEYS   1 hot:<type>:<id>: total, time, and the lines in pieces that are named 0, 1, …
-- ARGV   1 lines that are shown from the beginning, 0 for a later part  2 how long it can be paged through, in ms
--        then the pieces
-- RETURN {total, time, piece, …}; none when it is gone. A piece beyond the end is missing

local answer = redis.call('HMGET', KEYS[1], 'total', 'time', unpack(ARGV, 3))
if not answer[1] then return {} end
local shown = tonumber(ARGV[1])
if shown > 0 and shown < tonumber(answer[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return answer
