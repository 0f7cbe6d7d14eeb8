local record, log, deadlines = unpack(KEYS)
local id, data, revision, life, ttl, receipt, drop, keep, entry = unpack(ARGV)
local now = clock()
local ends = deadline(deadlines, id)
local old = ends and ends > now and redis.call('HMGET', record, 'life', 'revision', 'created', 'receipt')
if not old or not old[1] then
    return {'absent'}
end
if old[4] == receipt then -- sent twice
    return {'ok', old[1], tonumber(old[2]), tonumber(old[3]), ends}
end
if life ~= '' and life ~= '=' .. old[1] then
    return {'conflict'}
end
if old[2] ~= revision then -- told with the record as it is, so that a new try needs no other trip
    return {'conflict', old[1], redis.call('HGET', record, 'data'), old[2], old[3], ends}
end
if ttl ~= '' then
    ends = now + ttl
    redis.call('ZADD', deadlines, whole(ends), id)
end
redis.call('HSET', record, 'data', data, 'revision', whole(old[2] + 1), 'receipt', receipt)
if drop ~= '0' then
    redis.call('LTRIM', log, drop, -1)
end
if entry and keep == '0' then
    redis.call('UNLINK', log)
elseif entry then
    redis.call('LPUSH', log, entry)
    redis.call('LTRIM', log, 0, keep - 1)
end
return {'ok', old[1], old[2] + 1, tonumber(old[3]), ends}
