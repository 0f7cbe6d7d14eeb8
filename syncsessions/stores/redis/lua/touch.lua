local record, deadlines = unpack(KEYS)
local id, life, ttl = unpack(ARGV)
local now = clock()
local ends = deadline(deadlines, id)
local old = ends and ends > now and redis.call('HGET', record, 'life')
if not old then
    return {'absent'}
end
if life ~= '' and life ~= '=' .. old then
    return {'conflict'}
end
redis.call('ZADD', deadlines, whole(now + ttl), id)
return {'ok'}
