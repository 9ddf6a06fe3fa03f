-- Moves a read mark forward and notes it for MySQL.
--
-- KEYS   1 read:<gen>:<group>  2 dirty:<gen>
-- ARGV   1 group  2 user  3 seq  4 the mark that MySQL is known to have
-- RETURN the mark that holds now

local mark = math.max(tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or '0'), tonumber(ARGV[4]))
local seq = tonumber(ARGV[3])
if seq > mark then
  mark = seq
  redis.call('HSET', KEYS[2], ARGV[1] .. '|' .. ARGV[2], ARGV[3])
end
local text = string.format('%.0f', mark)
redis.call('HSET', KEYS[1], ARGV[2], text)
return text
