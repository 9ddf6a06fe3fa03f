-- Tells which snapshot of a ranking serves everybody, and gives the turn to take the next one to who asks first.
--
-- KEYS   1 hot:<type>: id, fresh and kept (until when), turn (whose) and held (until when)
-- ARGV   1 who asks, '' to look only  2 how long the turn is his, in ms
-- RETURN {'FRESH', id}, {'YOURS', last} (asked again by him who has the turn, it is prolonged) or {'WAIT', last}; last is
--        the snapshot before, '' when that is no longer kept

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local function ahead(ms) return ms and tonumber(ms) > now end

local known = redis.call('HMGET', KEYS[1], 'id', 'fresh', 'kept', 'turn', 'held')
if ahead(known[2]) then return {'FRESH', known[1]} end
local last = ahead(known[3]) and known[1] or ''
if ARGV[1] == '' or ahead(known[5]) and known[4] ~= ARGV[1] then return {'WAIT', last} end
redis.call('HSET', KEYS[1], 'turn', ARGV[1], 'held', string.format('%.0f', now + tonumber(ARGV[2])))
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[2])))
return {'YOURS', last}
