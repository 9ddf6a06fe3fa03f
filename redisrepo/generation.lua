-- Sets a partition's generation if it is higher than the one that is set, remembering the older one: its log may
-- still hold messages.
--
-- KEYS   1 gen
-- ARGV   1 generation  2 identity of the server it was raised on  3 identity of this server, '' to ask it
--        4 channel of the watermarks: who listens has something to write before the generation may begin
-- RETURN the generation that is set now, or 'OTHER' when the server is not the one it was raised on

local me = ARGV[3]
if me == '' then me = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') end
if me ~= ARGV[2] then return 'OTHER' end

local known = redis.call('HMGET', KEYS[1], 'gen', 'older')
local gen = tonumber(known[1] or '0')
if tonumber(ARGV[1]) > gen then
  local older = known[2] or ''
  if gen > 0 then
    if older ~= '' then older = older .. ' ' end
    older = older .. known[1]
  end
  -- A Redis without memory refuses HSET as a script's first write; PERSIST changes nothing and is not refused. A
  -- server that comes back full has to get its generation, or its logs are never drained.
  redis.call('PERSIST', KEYS[1])
  redis.call('HSET', KEYS[1], 'gen', ARGV[1], 'server', me, 'older', older)
  redis.call('PUBLISH', ARGV[4], 'gen ' .. ARGV[1])
  return ARGV[1]
end
return known[1]
