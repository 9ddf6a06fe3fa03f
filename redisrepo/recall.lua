-- Recalls a message: notes that for MySQL and for whoever reads recent messages, and tells the subscribers.
-- standing.lua goes before this.
--
-- KEYS   1 gen  2 seq:<gen>  3 log:<gen>  4 persisted:<gen>  5 recent:<gen>:<group>  6 recalled:<gen>:<group>
--        7 recalling:<gen>  8 group
-- ARGV   1 generation the caller believes in  2 identity of the server, '' to ask it
--        3 channel of the group  4 group  5 seq  6 user who recalls ('' = nobody)  7 'u' (user) or 's' (app server)
--        8 by whom, as others learn it  9 how long senders may, in ms
--        10 sender of the message as MySQL has it ('' = not asked)  11 its time  12 when it was recalled ('0' = it was not)
--        13 by whom
--        14 the permission table: ' <type>/<who> ' who recalls at any time, his own and ' <type>/<who>/<sender> ' others'
--        messages; who is a role or 'server', sender a role ('' = not in)
-- RETURN {'OK', time_ms, by, persisted, tail, hash}   recalled, now or before; tail of the message ('' = it is not recent),
--        and its content hash where the body was replaced ('' = it follows from the tail)
--        {word}: STALE (server or generation is another one), LOAD (group not cached), RESEED (seq not known in this
--        generation), UNKNOWN (not recent: MySQL has to be asked), NOT_FOUND, GONE, NOT_MEMBER, BLOCKED,
--        LATE, FORBIDDEN, FULL (Redis is out of memory)

if stale then return {'STALE'} end
local group, seq, user, kind = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local refused = standing(KEYS[8], user, kind)
if refused and refused ~= 'MUTED' then return {refused} end

local last = redis.call('HGET', KEYS[2], group)
if not last then return {'RESEED'} end
local last_seq, last_time = string.match(last, '^(%d+) (%d+)$')
if tonumber(seq) > tonumber(last_seq) then return {'NOT_FOUND'} end
local persisted = redis.call('HGET', KEYS[4], group) or '0'

local from, sent_ms, tail, hash = ARGV[10], ARGV[11], '', ''
local recent = redis.call('XRANGE', KEYS[5], seq .. '-0', seq .. '-0')[1]
if recent then
  for i = 1, #recent[2], 2 do
    if recent[2][i] == 'm' then tail = recent[2][i + 1] end
    if recent[2][i] == 'x' then hash = recent[2][i + 1] end
  end
  sent_ms, from = string.match(tail, '^"time_ms":(%d+),"from":"([^"]*)"')
end

-- Before who may: a repeat is answered as the first was, also when the time is over.
local before = redis.call('HGET', KEYS[6], seq)
if before then
  local ms, by = string.match(before, '^(%d+) (.*)$')
  return {'OK', ms, by, persisted, tail, hash}
end
if from == '' then return {'UNKNOWN'} end
if not recent and ARGV[12] ~= '0' then return {'OK', ARGV[12], ARGV[13], persisted, '', ''} end

local function allowed(word) return string.find(ARGV[14], ' ' .. word .. ' ', 1, true) end

local function may()
  if kind == 'u' and from == user and now - tonumber(sent_ms) <= tonumber(ARGV[9]) then return true end
  local type = redis.call('HGET', KEYS[8], '*type')
  local places = redis.call('HMGET', KEYS[8], user, from)
  local mine = kind == 's' and 'server' or string.match(places[1] or '', '^(%a*):') or ''
  local theirs = string.match(places[2] or '', '^(%a*):') or ''
  local who = type .. '/' .. mine
  return allowed(who) and (kind == 'u' and from == user or allowed(who .. '/' .. theirs))
end
if not may() then
  if from == user then return {'LATE'} end
  return {'FORBIDDEN'}
end

local time = integer(math.max(now, tonumber(last_time)))
-- The write that memory can refuse comes first: Lua has no rollback. No field is called as one of a message's: what
-- takes this for one must fail.
local logged = redis.pcall('XADD', KEYS[3], '*', 'recall', seq, 'group', group, 'ms', time, 'by', ARGV[8])
if logged['err'] then
  if string.find(logged['err'], 'OOM', 1, true) then return {'FULL'} end
  error(logged['err'], 0) -- READONLY and the like: not the server it was
end
redis.call('HSET', KEYS[7], group .. '|' .. seq, time)
redis.call('HSET', KEYS[6], seq, time .. ' ' .. ARGV[8])
redis.call('PERSIST', KEYS[6]) -- until the row is updated
redis.call('PUBLISH', ARGV[3], 'x ' .. ARGV[1] .. ' ' .. seq .. ' ' .. time .. ' ' .. ARGV[8] ..
  '\n{"event":"recall","group":"' .. group .. '","seq":' .. seq .. ',"by":"' .. ARGV[8] .. '","time_ms":' .. time .. '}')
return {'OK', time, ARGV[8], persisted, tail, hash}
