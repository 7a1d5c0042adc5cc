import Model

// What no single key can know: impossible combinations.

extension Configuration {
    /// Run on whatever could be read, so that one slip does not hide another; only what was given is complained about.
    func check(_ reading: inout ConfigurationReading) {
        checkSource(&reading)
        checkPools(&reading)
        checkListeners(&reading)
        checkPorts(&reading)
        assetCache?.check(&reading)
    }

    private func checkSource(_ reading: inout ConfigurationReading) {
        guard reading.isGiven("source") else { return }
        switch (reading.isGiven("source.directory"), reading.isGiven("source.kubernetes")) {
        case (true, true):
            reading.complain(about: "source.kubernetes", "stands beside directory", remedy: "keep one of the two: there is one source")
        case (false, false) where reading.diagnostics.isEmpty:
            reading.complain(
                about: "source", "names no source", remedy: "add directory: /etc/leasehold/endpoints.d, or kubernetes: in-cluster")
        case (false, false), (true, false), (false, true): break
        }
        let hasFile = reading.isGiven("source.kubernetes.kubeconfig")
        if !hasFile, reading.isGiven("source.kubernetes.context") {
            reading.complain(
                about: "source.kubernetes.context", "is the context of a kubeconfig, and there is none", remedy: "add kubeconfig: PATH, or remove it")
        }
        if hasFile, reading.isGiven("source.kubernetes.service-account") {
            reading.complain(
                about: "source.kubernetes.service-account", "has no effect beside kubeconfig", remedy: "remove one of the two")
        }
    }

    private func checkPools(_ reading: inout ConfigurationReading) {
        if !reading.isGiven("pools"), !reading.isGiven("asset-cache"), !reading.hasUnknownKeys {
            reading.complain(
                about: "", "has no pools", remedy: "add pools: [{ name: browsers, service: shop/browsers }]")
        }
        if pools.isEmpty, reading.isGiven("pools"), reading.diagnostics.isEmpty {
            reading.complain(about: "pools", "there is no pool", remedy: "add one: - { name: browsers, service: shop/browsers }")
        }
        var seen: [PoolID: String] = [:]
        for (i, pool) in pools.enumerated() where !pool.name.isEmpty {
            let key = "pools[\(i)].name"
            if let other = seen[pool.id] {
                if other == pool.name {
                    reading.complain(about: key, "a pool named \(pool.name) is there already", remedy: "give each pool its own name")
                } else {
                    reading.complain(about: key, "\(pool.name) has the same 32-bit id as \(other)", remedy: "rename one of them")
                }
            }
            seen[pool.id] = seen[pool.id] ?? pool.name
        }
        for (i, pool) in pools.enumerated() { check(pool, at: "pools[\(i)]", &reading) }
    }

    private func check(_ pool: PoolConfiguration, at key: String, _ reading: inout ConfigurationReading) {
        let hasService = reading.isGiven("\(key).service")
        let hasWorkers = reading.isGiven("\(key).workers")
        // Without a name it is not much of a pool, and that was said already.
        if !hasService, !hasWorkers, reading.isGiven("\(key).name") {
            reading.complain(about: key, "has neither service nor workers", remedy: "add service: NAMESPACE/NAME, or workers")
        }
        if hasService, !reading.isGiven("source") {
            reading.complain(about: "\(key).service", "there is no source to find it in", remedy: "add source: { directory: PATH } or source: { kubernetes: in-cluster }")
        }
        if !hasService, reading.isGiven("\(key).port") {
            reading.complain(
                about: "\(key).port", "is the port of a Service, and there is none",
                remedy: "add service, or remove it; workers have workers.ports")
        }
        if pool.reuse != .whenReady, reading.isGiven("\(key).settle") {
            reading.complain(about: "\(key).settle", "has no effect without reuse: when-ready", remedy: "add it, or remove settle")
        }
        if pool.tenants.named.count > PoolConfiguration.Tenants.most {
            reading.complain(
                about: "\(key).tenants", "there are \(pool.tenants.named.count) tenants",
                remedy: "name at most \(PoolConfiguration.Tenants.most); all others share default's part")
        }
        if !hasService, let workers = pool.workers, workers.ports.count > 0, pool.reserve >= workers.most {
            reading.complain(
                about: "\(key).reserve", "keeps all \(workers.most) workers from every job but the most urgent",
                remedy: workers.most > 1 ? "write at most \(workers.most - 1)" : "remove it")
        }
        checkPair("\(key).quarantine", "first", pool.quarantine.first, "most", pool.quarantine.most, &reading)
        if let health = pool.health {
            checkPair("\(key).health", "timeout", health.timeout, "interval", health.interval, &reading)
        }
        guard let workers = pool.workers else { return }
        checkPair("\(key).workers.backoff", "first", workers.backoff.first, "most", workers.backoff.most, &reading)
        if workers.ports.count > 0 {
            if workers.most > workers.ports.count {
                reading.complain(
                    about: "\(key).workers.max", "\(workers.most) workers have only \(workers.ports.count) ports",
                    remedy: "write at most \(workers.ports.count), or give more ports")
            }
            if workers.min > workers.most {
                reading.complain(
                    about: "\(key).workers.min", "\(workers.min) is more than the most, \(workers.most)",
                    remedy: "write at most \(workers.most)")
            }
            if workers.ports.count > 1, !workers.command.isEmpty, !workers.command.contains(where: { $0.contains("{port}") }) {
                reading.complain(
                    about: "\(key).workers.command", "does not tell the worker its port",
                    remedy: "put {port} into an argument, like --port={port}")
            }
        }
    }

    private func checkPair(
        _ key: String, _ lower: String, _ low: Duration, _ upper: String, _ high: Duration, _ reading: inout ConfigurationReading
    ) {
        guard low > high else { return }
        // Said where it was written; the other one may be a default.
        let culprit = reading.isGiven("\(key).\(lower)") || !reading.isGiven("\(key).\(upper)") ? lower : upper
        reading.complain(
            about: "\(key).\(culprit)", "\(lower) (\(durationText(low))) is more than \(upper) (\(durationText(high)))",
            remedy: culprit == lower ? "write at most \(durationText(high))" : "write at least \(durationText(low))")
    }

    private func checkListeners(_ reading: inout ConfigurationReading) {
        var names: Set<String> = []
        for (i, listener) in listeners.enumerated() {
            let key = "listeners[\(i)]"
            if !listener.name.isEmpty, !names.insert(listener.name).inserted {
                reading.complain(
                    about: "\(key).name", "a listener named \(listener.name) is there already", remedy: "give each listener its own name")
            }
            check(listener, at: key, &reading)
        }
    }

    private func check(_ listener: ListenerConfiguration, at key: String, _ reading: inout ConfigurationReading) {
        let hasPool = reading.isGiven("\(key).pool")
        let hasRoutes = reading.isGiven("\(key).routes")
        switch (hasPool, hasRoutes, listener.transport) {
        case (true, true, .http): reading.complain(about: "\(key).pool", "stands beside routes", remedy: "keep one of the two")
        case (_, true, .tcp):
            reading.complain(
                about: "\(key).routes", "a tcp listener has one pool: bytes have no host and path", remedy: "write pool: NAME instead")
        case (false, false, _) where listener.name.isEmpty: break  // not much of a listener, and that was said already
        case (false, false, _): reading.complain(about: key, "has no pool and no routes", remedy: "add pool: NAME")
        case (true, false, _), (false, true, .http): break
        }
        if hasRoutes, listener.routes.isEmpty, reading.diagnostics.isEmpty {
            reading.complain(about: "\(key).routes", "there is no route", remedy: "add one: - { host: \"*\", path: /, pool: NAME }")
        }
        if let pool = listener.pool { checkPoolExists(pool, at: "\(key).pool", &reading) }
        checkRoutes(listener.routes, at: "\(key).routes", &reading)
        checkTenants(listener, at: key, &reading)
        checkProtocolKeys(listener, at: key, &reading)
        if listener.transport == .http, listener.limits.head > listener.receiveBuffer {
            let culprit = reading.isGiven("\(key).receive-buffer") ? "receive-buffer" : "limits.head"
            reading.complain(
                about: "\(key).\(culprit)",
                "heads are read where they lie, and limits.head (\(sizeText(listener.limits.head))) is more than receive-buffer (\(sizeText(listener.receiveBuffer)))",
                remedy: "write receive-buffer: \(sizeText(listener.limits.head))")
        }
        if listener.proxyProtocol.accept, listener.trust.from.isEmpty {
            reading.complain(
                about: "\(key).proxy-protocol.accept", "PROXY headers are taken from trusted peers only, and there are none",
                remedy: "add trust: { from: [10.0.0.0/8] } with the balancer's addresses")
        }
        if listener.trust.from.isEmpty, reading.isGiven("\(key).trust.headers") {
            reading.complain(about: "\(key).trust.headers", "nobody is trusted", remedy: "add trust.from with the callers' address blocks")
        }
        if listener.dualStack, !listener.address.isIPv6Wildcard {
            reading.complain(about: "\(key).dual-stack", "is for [::] only", remedy: "remove it, or write address: [::]:PORT")
        }
    }

    private func checkRoutes(_ routes: [RouteConfiguration], at key: String, _ reading: inout ConfigurationReading) {
        var seen: [String: Int] = [:]
        for (i, route) in routes.enumerated() {
            if !route.pool.isEmpty { checkPoolExists(route.pool, at: "\(key)[\(i)].pool", &reading) }
            let name = "\(route.host) \(route.path)"
            if let first = seen[name] {
                reading.complain(
                    about: "\(key)[\(i)]", "host \(route.host) with path \(route.path) is there already, as number \(first + 1)",
                    remedy: "remove one of them")
            } else {
                seen[name] = i
            }
        }
    }

    /// A tenant that a pool does not know is its default one, which nobody means who names it in the file.
    private func checkTenants(_ listener: ListenerConfiguration, at key: String, _ reading: inout ConfigurationReading) {
        func check(_ tenant: String, _ pools: [String], at key: String) {
            guard tenant != "default" else { return }
            for name in pools {
                guard let pool = pool(named: name), pool.tenants.named[tenant] == nil else { continue }
                reading.complain(
                    about: key, "pool \(name) has no tenant \(tenant)", remedy: "add \(tenant): {} to the tenants of pool \(name)")
                return
            }
        }
        if let tenant = listener.tenant, reading.isGiven("\(key).tenant") {
            check(tenant, listener.routes.filter { $0.tenant == nil }.map(\.pool) + [listener.pool].compactMap { $0 }, at: "\(key).tenant")
        }
        for (i, route) in listener.routes.enumerated() {
            let key = "\(key).routes[\(i)]"
            if let tenant = route.tenant { check(tenant, [route.pool], at: "\(key).tenant") }
            if route.mostUrgent != nil, route.urgency != nil {
                reading.complain(about: "\(key).most-urgent", "has no effect beside urgency, which is fixed", remedy: "remove one of the two")
            }
        }
    }

    private func checkPoolExists(_ name: String, at key: String, _ reading: inout ConfigurationReading) {
        guard pool(named: name) == nil else { return }
        let names = Set(pools.map(\.name)).filter { !$0.isEmpty }.sorted()
        let near = nearestWord(to: name, among: names).map { "did you mean \($0)?" }
        reading.complain(
            about: key, "there is no pool named \(name)",
            remedy: near ?? (names.isEmpty ? "add it under pools" : "the pools are: \(names.joined(separator: ", "))"))
    }

    /// A key for the other protocol would do nothing. `defaults:` may hold both kinds.
    private func checkProtocolKeys(_ listener: ListenerConfiguration, at key: String, _ reading: inout ConfigurationReading) {
        let other = listener.transport == .http ? "tcp" : "http"
        let foreign = listener.foreignKeys
        for path in foreign where path != "routes" && !path.contains("[]") {
            // A section is complained about by its keys.
            let isSection = foreign.contains { $0.hasPrefix("\(path).") }
            guard !isSection, reading.isGiven("\(key).\(path)") else { continue }
            reading.complain(
                about: "\(key).\(path)", "is for protocol: \(other) only", remedy: "remove it, or write protocol: \(other)")
        }
    }

    /// Addresses and ports that two of us want.
    private func checkPorts(_ reading: inout ConfigurationReading) {
        var bound: [(key: String, name: String, address: ListenAddress, dualStack: Bool)] = []
        for (i, listener) in listeners.enumerated() where reading.isGiven("listeners[\(i)].address") {
            bound.append(("listeners[\(i)].address", "listener \(listener.name)", listener.address, listener.dualStack))
        }
        if let publisher { bound.append(("publisher.address", "the publisher", publisher.address, false)) }
        if let external = publisher?.externalMetrics {
            bound.append(("publisher.external-metrics.address", "the External Metrics API", external.address, false))
        }
        if let keda = publisher?.keda { bound.append(("publisher.keda.address", "the publisher for KEDA", keda.address, false)) }
        if let assetCache {
            bound.append(("asset-cache.address", "the asset cache", assetCache.address, false))
            for (i, reverse) in assetCache.reverse.enumerated() where reading.isGiven("asset-cache.reverse[\(i)].address") {
                bound.append(("asset-cache.reverse[\(i)].address", "the asset cache for \(reverse.origin)", reverse.address, false))
            }
        }
        for (i, mine) in bound.enumerated() {
            for other in bound[..<i] where mine.address.clashes(with: other.address, dualStack: mine.dualStack || other.dualStack) {
                reading.complain(
                    about: mine.key, "\(mine.address) clashes with \(other.name) at \(other.address)", remedy: "use another port or address"
                )
            }
        }
        let local = pools.enumerated().compactMap { i, pool in
            pool.workers.map { (key: "pools[\(i)].workers.ports", pool: pool.name, ports: $0.ports) }
        }
        for (i, mine) in local.enumerated() {
            for other in local[..<i] {
                guard let port = mine.ports.firstShared(with: other.ports) else { continue }
                reading.complain(
                    about: mine.key, "port \(port) belongs to the workers of \(other.pool) already", remedy: "use another range")
            }
            for listener in bound {
                guard case .ip(let address) = listener.address, mine.ports.contains(address.port) else { continue }
                reading.complain(
                    about: mine.key, "port \(address.port) is that of \(listener.name)",
                    remedy: "use another range, or move \(listener.name)")
            }
        }
    }
}

extension ListenAddress {
    /// Whether the kernel would refuse the second bind. Port 0 never clashes.
    fileprivate func clashes(with other: ListenAddress, dualStack: Bool) -> Bool {
        switch (self, other) {
        case (.unix(let a), .unix(let b)): return a == b
        case (.unix, .ip), (.ip, .unix): return false
        case (.ip(let a), .ip(let b)):
            guard a.port == b.port, a.port != 0 else { return false }
            let aIsWildcard = a.high == 0 && a.low == 0
            let bIsWildcard = b.high == 0 && b.low == 0
            if a.family == b.family { return a == b || aIsWildcard || bIsWildcard }
            return dualStack && (a.family == .v6 ? aIsWildcard : bIsWildcard)
        }
    }
}
