-- Moves a read mark forward and notes it for MySQL.
--
-- KEYS   1 gen  2 read:<gen>:<group>  3 dirty:<gen>
-- ARGV   1 generation  2 group  3 user  4 seq  5 the mark that MySQL is known to have  6 idle TTL of read in ms
-- RETURN the mark that holds now, or 'STALE' (the generation is another one): a mark noted there would stay there

if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 'STALE' end
local mark = math.max(tonumber(redis.call('HGET', KEYS[2], ARGV[3]) or '0'), tonumber(ARGV[5]))
local seq = tonumber(ARGV[4])
if seq > mark then
  mark = seq
  redis.call('HSET', KEYS[3], ARGV[2] .. '|' .. ARGV[3], ARGV[4])
end
local text = string.format('%.0f', mark)
redis.call('HSET', KEYS[2], ARGV[3], text)
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return text
