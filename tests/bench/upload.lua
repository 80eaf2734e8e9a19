-- POST new bytes every time: a stamp of this round, a number, and filling.
local stamp, filling, number = nil, nil, 0
function init(words)
  stamp, filling = words[1], string.rep("x", tonumber(words[2]) - 64)
end
function request()
  number = number + 1
  return wrk.format("POST", nil, nil, string.format("%-32s%032d", stamp, number) .. filling)
end
