-- GET the paths of a file, a line each, in an order by chance that is the same at every run.
local paths = {}
function init(words)
  for line in io.lines(words[1]) do paths[#paths + 1] = line end
  math.randomseed(7)
end
function request() return wrk.format("GET", paths[math.random(#paths)]) end
