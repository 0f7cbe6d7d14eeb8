-- One page of the live records born before a place: the place to go on from, what is left to skip, the records.
local deadlines, born = unpack(KEYS)
local records, before, skip, most, scan = unpack(ARGV)
local now = clock()
local page = redis.call('ZREVRANGEBYSCORE', born, before, '-inf', 'WITHSCORES', 'LIMIT', 0, scan)
local ids = {}
for place = 1, #page, 2 do
    ids[#ids + 1] = page[place]
end
if #ids == 0 then
    return {'', 0, {}}
end
local ends = redis.call('ZMSCORE', deadlines, unpack(ids))
local found = {}
skip, most = tonumber(skip), tonumber(most)
for place, id in ipairs(ids) do
    if #found == most then
        return {'(' .. page[2 * place - 2], skip, found}
    end
    local live = ends[place] and tonumber(ends[place]) > now
    if live and skip > 0 then
        skip = skip - 1
    elseif live then
        local old = redis.call('HMGET', records .. id, 'life', 'data', 'revision', 'created')
        if old[1] then
            found[#found + 1] = {id, old[1], old[2], old[3], old[4], tonumber(ends[place])}
        end
    end
end
return {#ids < tonumber(scan) and '' or '(' .. page[#page], skip, found}
