local token, most, length = unpack(ARGV)
local wait = spend(KEYS[1], token, tonumber(most), tonumber(length), clock())
return wait and {'spent', wait} or {'ok'}
