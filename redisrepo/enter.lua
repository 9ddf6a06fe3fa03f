-- Lets a session in as the policy allows. Those that give way for it are told so by a note.
--
-- KEYS   1 conns:<user>  2 at:<instance>  3 notes:<user>
-- ARGV   1 user  2 connection  3 instance  4 device class ('-' = none)
--        5 policy: 'multi', 'replace' or 'reject'  6 sessions a user may have (multi)  7 TTL of sessions in ms
--        8 channel of the user  9 notes kept  10 TTL of notes in ms  11 close code, 12 reason of those that give way
--        then the instances that are dead: their sessions do not count, and go
-- RETURN {'ONLINE'}: refused; else {'FIRST' (the user had no other session) or 'MORE', id of the last note before,
--        when the session was let in, in ms}

local conn, device, policy = ARGV[2], ARGV[4], ARGV[5]
local dead = {}
for i = 13, #ARGV do dead[ARGV[i]] = true end

-- The other sessions. This one may be there too: a call whose reply was lost is repeated.
local others, entered = {}, nil
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local id = fields[i]
  local opened, instance, class = string.match(fields[i + 1], '^(%d+) (%S+) (%S+)$')
  if dead[instance] then
    redis.call('HDEL', KEYS[1], id)
  elseif instance and id == conn then
    entered = opened
  elseif instance then
    others[#others + 1] = {id = id, opened = tonumber(opened), class = class}
  end
end
if policy == 'reject' and #others > 0 then return {'ONLINE'} end

local going = {}
if policy == 'replace' then
  for _, s in ipairs(others) do
    if s.class == device then going[#going + 1] = s.id end
  end
elseif policy == 'multi' then
  table.sort(others, function(a, b)
    if a.opened ~= b.opened then return a.opened < b.opened end
    return a.id < b.id
  end)
  for i = 1, #others - tonumber(ARGV[6]) + 1 do going[i] = others[i].id end
end

local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
for _, id in ipairs(going) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[9], '*', 'k', 'close', 'c', id, 'o', ARGV[11], 'r', ARGV[12])
end
if #going > 0 then
  redis.call('PEXPIRE', KEYS[3], ARGV[10])
  redis.call('PUBLISH', ARGV[8], 'n')
end

if not entered then
  local clock = redis.call('TIME')
  entered = string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))
  redis.call('HSET', KEYS[1], conn, entered .. ' ' .. ARGV[3] .. ' ' .. device)
end
redis.call('HDEL', KEYS[1], '*seen')
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
return {#others == 0 and 'FIRST' or 'MORE', last and last[1] or '0-0', entered}
