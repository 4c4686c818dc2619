-- Says that a worker that was to come back at once does not: another is woken for what waits by now.
-- KEYS: 1 namespace
-- ARGV: 1 under which name it waits

no_longer_waits(ARGV[1])
for _, prefix in ipairs({ '', COMPARISON_LINE }) do
  if not is_empty(prefix) then
    ring_bell(prefix)
  end
end
