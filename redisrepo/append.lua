-- Accepts the queued sends of one partition: checks each, gives it its seq, stores, logs, counts and publishes it.
-- All of a send happens or nothing; the sends of a call do not depend on each other. standing.lua goes before this.
--
-- KEYS  1 gen  2 seq:<gen>  3 log:<gen>  4 persisted:<gen>  5 speakers  6 heat  7 direct:<gen>
--       then 6 a send: recent, dedupe, group, read, rate of the user, rate of the group
--       then one for each send that mentions somebody: mentions
--       then, if messages are counted: messages, traffic
-- ARGV  1 generation the caller believes in
--       2 identity of the server, '' to ask it (a server without INFO is told)
--       3 prefix of the group channels
--       4 heat window in ms
--       5 entries the log may hold
--       6, 7 messages a second a user, burst   8 messages a second a group (burst: one second); 0 = no limit
--       9 messages a user may send to one who has not written in their direct conversation; 0 = no limit
--       10 memory the log may take in bytes, 0 = no limit   11 entries below which it is not asked for
--       12 whether messages are counted: '1', or '0'
--       then 11 a send: group, from, header (JSON fields without braces), body (JSON), content hash,
--       TTL of the dedupe entry in ms, 'u' (user) or 's' (app server), reply_to ('0' = none), priority,
--       connection that gets no push ('-' = none), when its turn in the user's rate is taken: 'append',
--       'load' (already when the answer is LOAD, for it may make the group), 'taken' (with such a LOAD),
--       'over:<ms>' (the user is over his rate over all groups: unless it is a repeat, it is refused), or
--       'refused' (likewise, for its content: it is not to be stored, and takes no turn)
--       A content hash that starts with x is of a body that was replaced: sends are compared without that digit.
-- RETURN  {'STALE'} when the server or the generation is another one: nothing was done. Otherwise a string a send:
--       OK <seq> <time_ms> <persisted>    accepted
--       DUP <seq> <time_ms> <persisted>   the first result of the same send
--       CONFLICT                          same client_id, other content
--       LOAD                              group not cached; not over the user's rate
--       RESEED                            seq not known in this generation
--       REFUSED                           its content may not be stored, and it is no repeat
--       GONE  NOT_MEMBER  BLOCKED  MUTED  NO_REPLY (reply_to above the last seq)
--       STRANGER                          direct: at the limit, and the other side has not written
--       USER_RATE <ms>  GROUP_RATE <ms>   over a rate, ms until there is room
--       BACKLOG                           log is full         FULL     Redis is out of memory
--
-- Numbers are kept out of string joins: Lua prints 14 digits. seq:<gen> holds '<seq> <time_ms>'.

if stale then return {'STALE'} end

local window = tonumber(ARGV[4])
local stranger_limit = tonumber(ARGV[9])
local waiting = redis.call('XLEN', KEYS[3])
local room_left = tonumber(ARGV[5]) - waiting
-- Once a call: 0.6 us of Redis' time, measured on a log of a million entries. It goes by the first five of the log's nodes
-- (of 4 kB or one entry), so small messages before large ones make it look up to three times smaller. A server that does
-- not tell (the embedded one, or by its ACL) leaves it to the number of entries.
if tonumber(ARGV[10]) > 0 and waiting > tonumber(ARGV[11]) then
  local bytes = redis.pcall('MEMORY', 'USAGE', KEYS[3], 'SAMPLES', 5)
  if type(bytes) == 'number' and bytes >= tonumber(ARGV[10]) then room_left = 0 end
end

-- GCRA (generic cell rate algorithm): the key holds the theoretical arrival time in ms. Returns the new one, or
-- nil and the ms to wait. share is the part of the burst that this send may use; a burst below 1 would let nothing
-- through, ever.
local function take(key, rate, burst, share)
  local interval = 1000 / rate
  local arrival = math.max(tonumber(redis.call('GET', key) or 0), now)
  local early = arrival - now - interval * (math.max(1, burst * share) - 1)
  if early > 0.0005 then return nil, math.ceil(early) end
  return arrival + interval
end

local function keep_rate(key, arrival, call)
  return (call or redis.call)('SET', key, string.format('%.3f', arrival), 'PX', math.max(1, math.ceil(arrival - now)))
end

local function over(turn) return string.match(turn, '^over:(%d+)$') end

-- Asks for a send's turn before its group is loaded, and takes it if loading may make the group, which a refused send
-- must not. That is a first write, which memory may refuse.
local function may_load(key, kind, turn)
  if over(turn) then return 'USER_RATE ' .. over(turn) end
  local rate = tonumber(ARGV[6])
  if rate == 0 or kind ~= 'u' or turn == 'taken' or turn == 'refused' then return 'LOAD' end
  local arrival, wait = take(key, rate, tonumber(ARGV[7]), 1)
  if not arrival then return 'USER_RATE ' .. wait end
  if turn == 'append' then return 'LOAD' end
  local kept = keep_rate(key, arrival, redis.pcall)
  if not kept['err'] then return 'LOAD' end
  if string.find(kept['err'], 'OOM', 1, true) then return 'FULL' end
  error(kept['err'], 0) -- READONLY and the like: not the server it was
end

-- Notes who is mentioned, until MySQL knows: '<seq> <seq> …', latest first, at most 340 bytes, then ' +' for those before.
local function mention(mentions, header, seq)
  for user in string.gmatch(string.match(header, ',"mentions":(%[.-%])'), '"([^"]+)"') do
    local list = redis.call('HGET', mentions, user)
    if not list or string.match(list, '^%d+') ~= seq then -- else he is named more than once
      list = list and seq .. ' ' .. list or seq
      if #list > 340 then list = string.match(string.sub(list, 1, 338), '^(.*) ') .. ' +' end
      redis.call('HSET', mentions, user, list)
    end
  end
end

local messages, traffic
if ARGV[12] == '1' then messages, traffic = KEYS[#KEYS - 1], KEYS[#KEYS] end

local function append(k, a, mentions)
  local group, from, header, body, hash = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]
  local kind, mute = ARGV[a + 6], ARGV[a + 9]
  local recent, dedupe, read = KEYS[k], KEYS[k + 1], KEYS[k + 3]

  -- Before everything that refuses: a refusal means that nothing was stored, and here something was.
  local first = redis.call('GET', dedupe)
  if first then
    local seq, time, first_hash = string.match(first, '^(%d+) (%d+) (%w+)$')
    if string.sub(first_hash, 2) ~= string.sub(hash, 2) then return 'CONFLICT' end
    -- Without one, the first send was in another generation, and the seed that brought it over is on its way.
    local persisted = redis.call('HGET', KEYS[4], group)
    if not persisted then return 'RESEED' end
    return 'DUP ' .. seq .. ' ' .. time .. ' ' .. persisted
  end
  if room_left <= 0 then return 'BACKLOG' end

  local refused, type = standing(KEYS[k + 2], from, kind)
  local turn = ARGV[a + 10]
  if refused == 'LOAD' then return may_load(KEYS[k + 4], kind, turn) end
  if refused then return refused end
  -- A generation knows the sends of former ones when the group is seeded: only then is it sure that this is none of them.
  if turn == 'refused' then return redis.call('HGET', KEYS[2], group) and 'REFUSED' or 'RESEED' end

  local mine, theirs, is_lower
  if type == 'direct' and kind == 'u' then
    mine, theirs, is_lower = written(KEYS[7], group, from)
    if stranger_limit > 0 and theirs == 0 and mine >= stranger_limit then return 'STRANGER' end
  end

  local user_rate, group_rate = tonumber(ARGV[6]), tonumber(ARGV[8])
  local user_arrival, group_arrival, wait
  if over(turn) then return 'USER_RATE ' .. over(turn) end
  if user_rate > 0 and kind == 'u' and turn ~= 'taken' then
    user_arrival, wait = take(KEYS[k + 4], user_rate, tonumber(ARGV[7]), 1)
    if not user_arrival then return 'USER_RATE ' .. wait end
  end
  if group_rate > 0 then
    local share = ARGV[a + 8] == 'low' and 0.8 or 1
    group_arrival, wait = take(KEYS[k + 5], group_rate, group_rate, share)
    if not group_arrival then return 'GROUP_RATE ' .. wait end
  end

  local last = redis.call('HGET', KEYS[2], group)
  if not last then return 'RESEED' end
  local last_seq, last_time = string.match(last, '^(%d+) (%d+)$')
  if tonumber(ARGV[a + 7]) > tonumber(last_seq) then return 'NO_REPLY' end

  local seq = integer(tonumber(last_seq) + 1)
  local time = integer(math.max(now, tonumber(last_time)))
  local tail = '"time_ms":' .. time .. ',' .. header .. ',"body":' .. body .. '}'

  -- The write that memory can refuse comes first: Lua has no rollback.
  local logged = redis.pcall('XADD', KEYS[3], '*',
    'g', group, 's', seq, 't', time, 'y', type, 'h', header, 'b', body, 'x', hash)
  if logged['err'] then
    if string.find(logged['err'], 'OOM', 1, true) then return 'FULL' end
    error(logged['err'], 0) -- READONLY and the like: not the server it was
  end
  room_left = room_left - 1
  redis.call('HSET', KEYS[2], group, seq .. ' ' .. time)
  local replaced = string.sub(hash, 1, 1) == 'x'
  if replaced then
    redis.call('XADD', recent, seq .. '-0', 'm', tail, 'q', mute, 'x', hash)
  elseif mute == '-' then
    redis.call('XADD', recent, seq .. '-0', 'm', tail)
  else
    redis.call('XADD', recent, seq .. '-0', 'm', tail, 'q', mute)
  end
  redis.call('SET', dedupe, seq .. ' ' .. time .. ' ' .. hash, 'PX', ARGV[a + 5])
  if user_arrival then keep_rate(KEYS[k + 4], user_arrival) end
  if group_arrival then keep_rate(KEYS[k + 5], group_arrival) end
  if kind == 'u' then redis.call('HSET', read, from, seq) end
  if mentions then mention(mentions, header, seq) end
  -- Counted as long as one side has not written, and no further than the limit can be set (domain.MaxStrangerLimit).
  if mine and mine < 1000 and (mine == 0 or theirs == 0) then
    local lower, higher = mine + 1, theirs
    if not is_lower then lower, higher = theirs, mine + 1 end
    redis.call('HSET', KEYS[7], group, integer(lower) .. ' ' .. integer(higher))
  end
  if type ~= 'direct' and from ~= 'system' then
    if redis.call('ZADD', KEYS[5], integer(now), group .. '|' .. from) == 1 then
      redis.call('ZINCRBY', KEYS[6], 1, group)
    end
    if messages then
      redis.call('ZADD', messages, integer(now), group .. '|' .. seq)
      redis.call('ZINCRBY', traffic, 1, group)
    end
  end
  redis.call('PUBLISH', ARGV[3] .. group,
    'm ' .. ARGV[1] .. ' ' .. seq .. ' ' .. mute .. (replaced and ' ' .. hash or '') .. '\n{"event":"message","group":"' .. group ..
    '","seq":' .. seq .. ',' .. tail)
  return 'OK ' .. seq .. ' ' .. time .. ' ' .. (redis.call('HGET', KEYS[4], group) or '0')
end

local results = {}
local sends = (#ARGV - 12) / 11
local next_mentions = 8 + sends * 6
for i = 0, sends - 1 do
  local mentions
  if string.find(ARGV[15 + i * 11], ',"mentions":[', 1, true) then
    mentions, next_mentions = KEYS[next_mentions], next_mentions + 1
  end
  results[i + 1] = append(8 + i * 6, 13 + i * 11, mentions)
end
-- Speakers whose last message is older than the window no longer count, nor do such messages: at most 100 a call, and
-- behind the sends, because after a first write Redis no longer refuses the next when memory is full.
local function expire(members, counts)
  local expired = redis.call('ZRANGEBYSCORE', members, '-inf', integer(now - window), 'LIMIT', 0, 100)
  for _, member in ipairs(expired) do
    local group = string.match(member, '^(.*)|')
    redis.call('ZREM', members, member)
    if tonumber(redis.call('ZINCRBY', counts, -1, group)) <= 0 then redis.call('ZREM', counts, group) end
  end
end
expire(KEYS[5], KEYS[6])
if messages then expire(messages, traffic) end

return results
