-- Takes committed entries off the write-behind log: raises the watermarks, removes exactly these entries, trims
-- the recent messages that MySQL has, and tells everybody the watermarks. Of entries that MySQL refused it takes away
-- what else there is: the recent message, and the first result that repeats would be given.
--
-- KEYS   1 gen  2 log:<gen>  3 persisted:<gen>  4 recalling:<gen>
--        then 3 a group: recent:<gen>:<group>, read:<gen>:<group>, recalled:<gen>:<group>
--        then 2 a refused entry: recent:<gen>:<group>, dedupe:<gen>:<id>
--        then 2 a recall: recent:<gen>:<group>, recalled:<gen>:<group>
-- ARGV   1 generation of the log  2 messages kept in recent  3 idle TTL of recent and read in ms
--        4 channel of the watermarks  5 number of groups  6 number of refused entries
--        7 number of recalls  then 2 a group: group, watermark; then 2 a refused entry: group, seq
--        then 2 a recall: group, seq; then the ids of the entries
-- RETURN 'OK'. The log of an older generation is drained the same way; its watermarks are of no use to anybody
-- and are not published.

local current = redis.call('HGET', KEYS[1], 'gen') == ARGV[1]
local keep, groups, refused, recalls = tonumber(ARGV[2]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local marks = {ARGV[1]}

-- First, because a Redis without memory refuses HSET as a script's first write: full, it would never get empty.
local first_id = 8 + 2 * groups + 2 * refused + 2 * recalls
for i = first_id, #ARGV, 1000 do
  redis.call('XDEL', KEYS[2], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end

-- Told ahead of the watermarks that pass them.
for i = 0, refused - 1 do
  local group, seq = ARGV[8 + 2 * groups + 2 * i], ARGV[9 + 2 * groups + 2 * i]
  redis.call('XDEL', KEYS[5 + 3 * groups + 2 * i], seq .. '-0')
  local dedupe = KEYS[6 + 3 * groups + 2 * i]
  local first = redis.call('GET', dedupe)
  if first and string.match(first, '^(%d+) ') == seq then redis.call('DEL', dedupe) end -- not that of a later send
  marks[#marks + 1] = '!' .. group
  marks[#marks + 1] = seq
end

-- A recall is remembered as long as its message is recent: the stream has it as it was sent.
local function first_seq(recent)
  local first = redis.call('XRANGE', recent, '-', '+', 'COUNT', 1)[1]
  return first and tonumber(string.match(first[1], '^(%d+)'))
end

local function forget_recalls(group, recent, recalled)
  local first, waits = first_seq(recent), false
  for _, seq in ipairs(redis.call('HKEYS', recalled)) do
    if redis.call('HEXISTS', KEYS[4], group .. '|' .. seq) == 1 then
      waits = true
    elseif not first or tonumber(seq) < first then
      redis.call('HDEL', recalled, seq)
    end
  end
  if not waits then redis.call('PEXPIRE', recalled, ARGV[3]) end -- recall.lua lets it live on until MySQL knows
end

local first_key, first_arg = 5 + 3 * groups + 2 * refused, 8 + 2 * groups + 2 * refused
for i = 0, recalls - 1 do
  redis.call('HDEL', KEYS[4], ARGV[first_arg + 2 * i] .. '|' .. ARGV[first_arg + 2 * i + 1])
end
local seen = {}
for i = 0, recalls - 1 do
  local group = ARGV[first_arg + 2 * i]
  if not seen[group] then
    seen[group] = true
    forget_recalls(group, KEYS[first_key + 2 * i], KEYS[first_key + 2 * i + 1])
  end
end

-- Now and then is enough for what only saves memory: when a group's watermark passes a multiple of this, or half
-- of the idle TTL is over.
local every = 50

for i = 0, groups - 1 do
  local group, mark = ARGV[8 + 2 * i], tonumber(ARGV[9 + 2 * i])
  local before = tonumber(redis.call('HGET', KEYS[3], group) or '0')
  if mark > before then redis.call('HSET', KEYS[3], group, ARGV[9 + 2 * i]) end
  local recent, read, recalled = KEYS[5 + 3 * i], KEYS[6 + 3 * i], KEYS[7 + 3 * i]
  if math.floor(mark / every) > math.floor(before / every) or redis.call('PTTL', recent) < tonumber(ARGV[3]) / 2 then
    local last = redis.call('XREVRANGE', recent, '+', '-', 'COUNT', 1)[1]
    if last then
      local keep_from = tonumber(string.match(last[1], '^(%d+)')) - keep + 1
      local trim_to = math.min(keep_from, mark + 1)
      if trim_to > 1 then redis.call('XTRIM', recent, 'MINID', '~', string.format('%.0f', trim_to)) end
    end
    redis.call('PEXPIRE', recent, ARGV[3])
    redis.call('PEXPIRE', read, ARGV[3])
    if redis.call('EXISTS', recalled) == 1 then forget_recalls(group, recent, recalled) end
  end
  marks[#marks + 1] = group
  marks[#marks + 1] = ARGV[9 + 2 * i]
end
if current then redis.call('PUBLISH', ARGV[4], table.concat(marks, ' ')) end
return 'OK'
