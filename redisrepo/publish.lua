-- Ends a turn: its snapshot serves everybody from now on, unless another one does so already.
--
-- KEYS   1 hot:<type>, see turn.lua
-- ARGV   1 whose turn  2 id of the snapshot, '' when there is none  3 how long it is fresh, in ms  4 and kept, in ms
-- RETURN id of the snapshot that serves everybody, '' for none

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local known = redis.call('HMGET', KEYS[1], 'id', 'fresh', 'turn')
local other = known[2] and tonumber(known[2]) > now and known[1] -- taken while he whose turn it was stood still
if ARGV[2] ~= '' and not other then
  redis.call('HSET', KEYS[1], 'id', ARGV[2], 'fresh', string.format('%.0f', now + tonumber(ARGV[3])),
    'kept', string.format('%.0f', now + tonumber(ARGV[4])))
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
if known[3] == ARGV[1] then redis.call('HDEL', KEYS[1], 'turn', 'held') end
return other or ARGV[2]
