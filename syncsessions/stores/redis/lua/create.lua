local record, log, deadlines, born, gone, window = unpack(KEYS)
local id, life, data, ttl, limit, most, length = unpack(ARGV)
local now = clock()
local ends = deadline(deadlines, id)
local old = ends and redis.call('HMGET', record, 'life', 'data', 'revision', 'created')
if old and old[1] and ends > now then
    if old[1] == life then -- sent twice
        return {'ok', tonumber(old[4]), ends}
    end
    return {'taken'}
end
if limit ~= '' and redis.call('ZCOUNT', deadlines, '(' .. whole(now), '+inf') >= tonumber(limit) then
    return {'full'}
end
local wait = most ~= '' and spend(window, life, tonumber(most), tonumber(length), now)
if wait then
    return {'spent', wait}
end
if old and old[1] then
    redis.call('RPUSH', gone, id, old[1], old[2], old[3], old[4], whole(ends))
end
local last = redis.call('ZREVRANGE', born, 0, 0, 'WITHSCORES')
ends = now + ttl
redis.call('ZADD', deadlines, whole(ends), id)
redis.call('ZADD', born, whole((last[2] or 0) + 1), id)
redis.call('UNLINK', record, log)
redis.call('HSET', record, 'life', life, 'data', data, 'revision', 1, 'created', whole(now))
return {'ok', now, ends}
