-- What wrk asks for: WORK is "show", "list" or "create-delete", TOKEN the
-- token, both in the environment. The token must not be in a command line.
-- https://github.com/wg/wrk/blob/master/SCRIPTING

wrk.headers["X-Auth-Token"] = os.getenv("TOKEN")

if os.getenv("WORK") == "create-delete" then
    local images = "/v2/images"
    local body = os.getenv("BODY")
    local json = { ["Content-Type"] = "application/json",
                   ["X-Auth-Token"] = os.getenv("TOKEN") }
    local made = {}

    -- Whatever has been made is deleted by the next one who asks.
    function request()
        if #made > 0 then
            return wrk.format("DELETE", images .. "/" .. table.remove(made))
        end
        return wrk.format("POST", images, json, body)
    end

    function response(status, headers, body)
        if status == 201 then
            table.insert(made, string.match(body, '"id": "([%x-]+)"'))
        end
    end
end

-- One line of JSON, for whoever has started wrk. It measures microseconds.
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        'JSON {"requests": %d, "seconds": %.6f, "p50": %.6f, "p90": %.6f, '
        .. '"p99": %.6f, "longest": %.6f, "refused": %d, "broken": %d, '
        .. '"late": %d}\n',
        summary.requests, summary.duration / 1e6,
        latency:percentile(50) / 1e6, latency:percentile(90) / 1e6,
        latency:percentile(99) / 1e6, latency.max / 1e6, errors.status,
        errors.connect + errors.read + errors.write, errors.timeout))
end
