vcl 4.1;

# Varnish as the cache in front of Refkeep's replicas (Debian's varnish, 7.1 or newer; docs/delivery-cdn.md).
# Name your replicas, and who may purge.
#
# What anyone may see is kept for good and asked for again every minute, which costs a 304 and no bytes: a hold, a release
# or a change of visibility shows here within 71 seconds, at once after a BAN by tag. Signed addresses are kept in the same
# way, each under its whole address. What is asked for with a key is never kept, nor looked up.

import directors;
import std;

probe readiness {
    .url = "/readyz";
    .interval = 1s;
    .timeout = 1s;
    .window = 2;
    .threshold = 1;
    .initial = 1;
}

backend refkeep_1 {
    .host = "refkeep-1";
    .port = "8080";
    .connect_timeout = 2s;
    .first_byte_timeout = 15s;
    .between_bytes_timeout = 15s;
    .probe = readiness;
}

backend refkeep_2 {
    .host = "refkeep-2";
    .port = "8080";
    .connect_timeout = 2s;
    .first_byte_timeout = 15s;
    .between_bytes_timeout = 15s;
    .probe = readiness;
}

# Who may send BAN requests.
acl purgers {
    "localhost";
}

# Who stands before Varnish, speaks TLS and says so in X-Forwarded-Proto.
acl terminators {
    "localhost";
}

sub vcl_init {
    new replicas = directors.round_robin();
    replicas.add_backend(refkeep_1);
    replicas.add_backend(refkeep_2);
}

sub vcl_recv {
    set req.backend_hint = replicas.backend();
    if (req.restarts == 0) {
        set req.http.X-Forwarded-For = client.ip;
        if (client.ip !~ terminators || !req.http.X-Forwarded-Proto) {
            set req.http.X-Forwarded-Proto = "http";
        }
    }
    if (req.method == "BAN") {
        call purge_by_tag;
    }
    if (req.url ~ "^/metrics(\?|$)") {
        return (synth(404));
    }
    # While a replica is well, what is too old is served for ten seconds more at most, while it is asked for anew.
    if (std.healthy(req.backend_hint)) {
        set req.grace = 10s;
    }
    # Varnish knows one range at a time, and of GET alone; to all else it would answer 416 or 503. Without it comes the whole.
    if (req.method != "GET" || req.http.Range !~ "^bytes=([0-9]{1,15}-([0-9]{1,15})?|-[1-9][0-9]{0,14})$"
        || (req.http.Range ~ "[0-9]-[0-9]" && std.integer(regsub(req.http.Range, "^bytes=(.*)-.*$", "\1"), 0)
            > std.integer(regsub(req.http.Range, "^.*-", ""), 0))) {
        unset req.http.Range;
    }
    if (req.url ~ "^/(blobs/|media/[^/]+/file/)") {
        unset req.http.If-Modified-Since; # blobs and renditions tell no date, for which Varnish takes that of the answer
    }
    # What only a replica can judge: keys, and preconditions that Varnish does not know.
    if ((req.method != "GET" && req.method != "HEAD") || req.http.Authorization || req.http.If-Match
        || req.http.If-Unmodified-Since || req.http.If-None-Match ~ ",|\*" || req.restarts > 0) {
        return (pass);
    }
    unset req.http.Want-Repr-Digest; # one visitor's wish, which others would get
    # A path has one spelling; a query that is no signature means nothing, and would only fill the cache.
    if (req.url ~ "^/(blobs/[0-9a-f]{64}|media/[0-9a-f-]{36}/file)(/(?!(meta|why)(\?|$))[a-z][a-z0-9_.-]{0,47})?(\?(?!.*signature=).*)?$") {
        set req.url = regsub(req.url, "\?.*$", "");
        return (hash);
    }
    # A signed address, until it ends: afterwards a replica says what there is to say.
    if (req.url ~ "^/media/[0-9a-f-]{36}/file(/[a-z][a-z0-9_.-]{0,47})?\?expires=[0-9]{1,12}&key=[A-Za-z0-9_-]{1,32}&signature=[A-Za-z0-9_-]{43}$"
        && std.time(regsub(req.url, "^.*\?expires=([0-9]+)&.*$", "\1"), now) > now) {
        return (hash);
    }
    return (pass);
}

# BAN with `Surrogate-Key: blob-<sha256>`, `ref-<ref_id>` or, once a preset was changed, `preset-<name>`: whatever carries the
# tag is gone, slices, signed addresses and renditions alike. It looks at stored objects alone, so that the ban lurker can finish it in the background.
sub purge_by_tag {
    if (client.ip !~ purgers) {
        return (synth(403));
    }
    if (req.http.Surrogate-Key !~ "^(blob-[0-9a-f]{64}|ref-[0-9a-f-]{36}|preset-[a-z][a-z0-9_-]{0,31})$") {
        return (synth(400));
    }
    if (!std.ban("obj.http.Surrogate-Key ~ (^|\s)" + req.http.Surrogate-Key + "(\s|$)")) {
        return (synth(500));
    }
    return (synth(204));
}

# Refkeep answers alike under every host name.
sub vcl_hash {
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_fetch {
    if (bereq.uncacheable) {
        # Long polls, and the verdict on a large upload.
        set bereq.first_byte_timeout = 90s;
        set bereq.between_bytes_timeout = 90s;
    }
}

sub vcl_backend_response {
    if (bereq.uncacheable) {
        return (deliver);
    }
    if (beresp.status == 502 || beresp.status == 504) {
        if (bereq.retries == 0) {
            return (retry);
        }
    }
    if (beresp.status >= 500 && bereq.is_bgfetch) {
        return (abandon);
    }
    # Large files would push out all others; they go through, ranges and all.
    if (std.integer(beresp.http.Content-Length, 0) > 268435456) {
        return (pass(1h));
    }
    set beresp.http.X-Refkeep-Target = bereq.url;
    if (beresp.status == 200 && bereq.url !~ "\?" && beresp.http.Cache-Control ~ "^(public, )?max-age=[1-9]") {
        set beresp.ttl = 60s;
        set beresp.grace = 1d; # while no replica answers
        set beresp.keep = 30d; # for a 304
    } else if (beresp.status == 200 && bereq.url ~ "\?" && beresp.http.Cache-Control ~ "^private, max-age=[1-9]") {
        if (beresp.ttl > 60s) { # it is what Refkeep says: never beyond the end of the address
            set beresp.ttl = 60s;
        }
        set beresp.grace = 0s;
        set beresp.keep = 1h;
    } else {
        # A refusal ends what was kept before, which would otherwise be shown again while no replica answers.
        if (bereq.http.If-None-Match && (beresp.status == 404 || beresp.status == 410 || beresp.status == 451)) {
            std.ban("obj.http.X-Refkeep-Target == " + bereq.url);
        }
        set beresp.ttl = 5s; # so long they are not made to wait for each other
        set beresp.grace = 0s;
        set beresp.keep = 0s;
        set beresp.uncacheable = true;
    }
    return (deliver);
}

sub vcl_backend_error {
    # A replica that was there a moment ago: the other one is asked.
    if (bereq.retries == 0 && (bereq.method == "GET" || bereq.method == "HEAD")) {
        return (retry);
    }
    set beresp.http.Content-Type = "application/problem+json";
    set beresp.http.Cache-Control = "no-store";
    set beresp.http.Retry-After = "1";
    set beresp.body = {"{"type":"urn:refkeep:problem:unavailable","title":"Service unavailable","status":503,"} +
        {""detail":"No replica answers.","code":"unavailable","retryable":true}"};
    return (deliver);
}

sub vcl_deliver {
    if (req.http.Range && resp.status == 200) {
        if (resp.http.Content-Length == "0") {
            unset req.http.Range; # nothing has no part
        } else if (req.restarts == 0 && std.integer(regsub(req.http.Range, "^bytes=([0-9]*)-.*$", "\1"), 0)
            >= std.integer(resp.http.Content-Length, 0)) {
            return (restart); # beyond the end, which a replica says better
        }
    }
    unset resp.http.Via;
    unset resp.http.X-Varnish;
    unset resp.http.X-Refkeep-Target;
    if (obj.uncacheable) { # RFC 9211
        set resp.http.Cache-Status = "refkeep-varnish; fwd=bypass";
    } else if (obj.hits > 0) {
        set resp.http.Cache-Status = "refkeep-varnish; hit";
        unset resp.http.X-Request-ID; # of the one who asked first
        unset resp.http.Server-Timing;
    } else {
        set resp.http.Cache-Status = "refkeep-varnish; fwd=miss";
    }
}

sub vcl_synth {
    set resp.http.Cache-Control = "no-store";
    set resp.body = "";
    return (deliver);
}
