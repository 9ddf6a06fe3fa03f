-- Forgets that read marks have to be written, where they are still what was written.
--
-- KEYS   1 dirty:<gen>
-- ARGV   2 a mark: '<group>|<user>', seq
-- RETURN how many were forgotten

local n = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    n = n + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return n
