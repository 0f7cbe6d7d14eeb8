local record, deadlines = unpack(KEYS)
local ends = deadline(deadlines, ARGV[1])
local found = ends and ends > clock() and redis.call('HMGET', record, 'life', 'data', 'revision', 'created')
if not found or not found[1] then
    return {'absent'}
end
return {'ok', found[1], found[2], found[3], found[4], ends}
