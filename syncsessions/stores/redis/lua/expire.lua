-- Takes some of the ended records: how many, and what was in them. Those set aside go first.
local gone, deadlines, born = unpack(KEYS)
local records, logs, most = unpack(ARGV)
local found = {}
local aside = redis.call('LRANGE', gone, 0, 6 * most - 1)
for place = 1, #aside, 6 do
    found[#found + 1] = {unpack(aside, place, place + 5)}
end
local ids = {}
if #found < tonumber(most) then
    ids = redis.call('ZRANGEBYSCORE', deadlines, '-inf', whole(clock()), 'WITHSCORES', 'LIMIT', 0, most - #found)
end
local taken = #found + #ids / 2
if #aside > 0 then
    redis.call('LTRIM', gone, #aside, -1)
end
for place = 1, #ids, 2 do
    local id = ids[place]
    local old = redis.call('HMGET', records .. id, 'life', 'data', 'revision', 'created')
    if old[1] then
        found[#found + 1] = {id, old[1], old[2], old[3], old[4], tonumber(ids[place + 1])}
    end
    redis.call('ZREM', deadlines, id)
    redis.call('ZREM', born, id)
    redis.call('UNLINK', records .. id, logs .. id)
end
return {taken, found}
