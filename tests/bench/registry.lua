-- The two requests of a blob upload: POST for a place, PUT of new bytes with their digest, which a file tells.
local stamp, filling, digests, number, places = nil, nil, {}, 0, {}
function init(words)
  stamp, filling = words[1], string.rep("x", tonumber(words[2]) - 64)
  for line in io.lines(words[3]) do digests[#digests + 1] = line end
end
function request()
  local place = table.remove(places)
  if place == nil then return wrk.format("POST", nil, { ["Content-Length"] = "0" }) end
  number = number + 1
  local body = string.format("%-32s%032d", stamp, number) .. filling
  return wrk.format("PUT", place .. "&digest=sha256:" .. digests[number], { ["Content-Type"] = "application/octet-stream" }, body)
end
function response(status, headers)
  if status == 202 then places[#places + 1] = (headers["Location"]:gsub("^https?://[^/]+", "")) end
end
