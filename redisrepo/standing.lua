-- Who may speak in a group: stands in front of the scripts that ask (scripts.go), for Lua has no include. They have in
-- common KEYS 1 gen, ARGV 1 generation the caller believes in, 2 identity of the server ('' to ask it).
--
-- Defines  now                   ms by Redis' clock
--          integer(n)            a number as text: Lua prints 14 digits
--          stale                 whether server or generation is another one than the caller's
--          standing(group key, from, kind)   a refusal (LOAD GONE BLOCKED NOT_MEMBER MUTED) or nil, and the group's type;
--                                kind: 'u' (user) or 's' (app server)
--          written(direct key, group, from)  messages of from's own in a direct conversation, those of the other side,
--                                and whether from is the lower id

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function integer(n) return string.format('%.0f', n) end

local known, identity = redis.call('HMGET', KEYS[1], 'gen', 'server'), ARGV[2]
if identity == '' then identity = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') end
local stale = known[1] ~= ARGV[1] or known[2] ~= identity

local function standing(key, from, kind)
  -- The names that start with a star are the group's own: no user is called so.
  local cached = redis.call('HMGET', key, '*loaded', '*type', '*flags', from)
  if cached[1] ~= ARGV[1] then return 'LOAD' end
  local type, flags, member = cached[2], cached[3], cached[4]
  if string.find(flags, 'd', 1, true) then return 'GONE' end
  if kind == 's' then return nil, type end
  local role, mute
  if member then role, mute = string.match(member, '^(%a*):(-?%d+)$') end
  if role == '' then role = nil end -- he was muted and is not in
  if role == 'blocked' then return 'BLOCKED' end
  if not role and type ~= 'room' then return 'NOT_MEMBER' end
  if mute == '-1' or tonumber(mute or 0) > now then return 'MUTED' end
  if string.find(flags, 'm', 1, true) and role ~= 'owner' and role ~= 'admin' then return 'MUTED' end
  return nil, type
end

local function written(key, group, from)
  -- The id is dm:<lower>:<higher>; no user's has a colon.
  local is_lower = string.sub(group, 1, #from + 4) == 'dm:' .. from .. ':'
  local lower, higher = string.match(redis.call('HGET', key, group) or '0 0', '^(%d+) (%d+)$')
  if is_lower then return tonumber(lower), tonumber(higher), true end
  return tonumber(higher), tonumber(lower), false
end

