-- Caches a group and its members as MySQL had them at one version. A snapshot that is older than a change the
-- cache has heard of is refused.
--
-- KEYS   1 gen  2 group: a field a member, and the group's own, whose names start with a star
-- ARGV   1 generation  2 version  3 type  4 flags ('d' dismissed, 'm' muted)  5 join  6 name
--        7 TTL in ms of a dismissed group: it is known to MySQL, and asked for by those who have not heard of its end
--        then 2 a member: user, '<role>:<mute until ms>'
-- RETURN 'OK', 'OLD' (a newer version is known) or 'STALE' (the generation is another one)

if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 'STALE' end
if tonumber(redis.call('HGET', KEYS[2], '*version') or '0') > tonumber(ARGV[2]) then return 'OLD' end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], '*loaded', ARGV[1], '*version', ARGV[2], '*type', ARGV[3], '*flags', ARGV[4],
  '*join', ARGV[5], '*name', ARGV[6])
for i = 8, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
if string.find(ARGV[4], 'd', 1, true) then redis.call('PEXPIRE', KEYS[2], ARGV[7]) end
return 'OK'
