local record, log, deadlines = unpack(KEYS)
local id, most = unpack(ARGV)
local ends = deadline(deadlines, id)
if not ends or ends <= clock() or redis.call('EXISTS', record) == 0 then
    return {'absent'}
end
return {'ok', most == '0' and {} or redis.call('LRANGE', log, 0, most - 1)}
