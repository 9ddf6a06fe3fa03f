-- Tells how far MySQL has got with some groups and read marks or recalls, for an instance that may have missed it. standing.lua goes
-- before this: a server that was emptied would say that nothing waits any more.
--
-- KEYS   1 gen  2 persisted:<gen>  3 dirty:<gen> or recalling:<gen>  4 seq:<gen>
-- ARGV   1 generation the caller believes in  2 identity of the server, '' to ask it  3 number of groups
--        then the groups, then fields of the third key: '<group>|<user>' or '<group>|<seq>'
-- RETURN {'STALE'} when server or generation is another one; otherwise a watermark a group ('0' = none; above all seqs for
--        one that is not seeded: its messages of this generation were stored, and it was dismissed), then '1' a field that
--        is there, for it waits to be written, '0' one that does not

if stale then return {'STALE'} end
local groups = tonumber(ARGV[3])
local answer = {}
for i = 4, #ARGV do
  if i < 4 + groups then
    local seeded = redis.call('HEXISTS', KEYS[4], ARGV[i]) == 1
    answer[#answer + 1] = seeded and (redis.call('HGET', KEYS[2], ARGV[i]) or '0') or '9007199254740992'
  else
    answer[#answer + 1] = tostring(redis.call('HEXISTS', KEYS[3], ARGV[i]))
  end
end
return answer
