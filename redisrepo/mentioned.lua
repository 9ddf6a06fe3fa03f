-- Forgets mentions that MySQL knows. Behind commit.lua, and not of it: what is left behind a crash in between takes room and
-- nothing else, for no reader looks at what is not above the watermark.
--
-- KEYS   1 mentions:<gen>:<group>
-- ARGV   1 idle TTL in ms, then 2 a user: user, seq of the last message that mentions him and is committed
-- RETURN 'OK'

for i = 2, #ARGV, 2 do
  local list = redis.call('HGET', KEYS[1], ARGV[i])
  if list and tonumber(string.match(list, '^%d+')) <= tonumber(ARGV[i + 1]) then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'OK'
