import CLinux
import DispatcherCore
import Linux
import Model
import Wire

extension DispatchLoop {
    /// A health probe: one GET over a connection of its own, under a lease of its own.
    func startProbe(_ probe: Probe) {
        let id = machine.reserve()
        while owners.count <= Int(id.slot) { owners.append(-1) }
        owners[Int(id.slot)] = -1
        feed(.probing(id, probe))
        switch connect(to: probe.address) {
        case .failure: feed(.ended(id, .probeFailed))
        case .success(let raw):
            let slot = takeWorker(raw, probe.endpoint)
            guard slot >= 0 else { return feed(.ended(id, .unused)) }
            workers[slot].pointee.state = .probe
            workers[slot].pointee.job = id
            workers[slot].pointee.sentBytes = 0
            workers[slot].pointee.pool = UInt16(rules.pools.firstIndex { $0.id == probe.pool } ?? 0)
            setDeadline(worker: slot, .probe, probe.timeout)
        }
    }

    func probeAdvanced(_ slot: Int32, connected: Bool) {
        let worker = workers[slot]
        if worker.pointee.socket.broken { return probeEnded(slot, passed: false) }
        if connected && worker.pointee.sentBytes == 0 {
            feed(.dialed(worker.pointee.job))
            let path = rules.pools[Int(worker.pointee.pool)].configuration.health?.path ?? "/"
            let request = Array("GET \(path) HTTP/1.1\r\nHost: leasehold\r\nUser-Agent: leasehold-probe\r\nConnection: close\r\n\r\n".utf8)
            let sent = request.withUnsafeBytes { lh_send(worker.pointee.descriptor.raw, $0.baseAddress, $0.count, 0) }
            guard sent == request.count else { return probeEnded(slot, passed: false) }
            worker.pointee.sentBytes = UInt64(sent)
        }
        guard worker.pointee.socket.readable, worker.pointee.sentBytes > 0 else { return }
        let count = lh_recv(worker.pointee.descriptor.raw, scratch.baseAddress, Self.peekBytes, Int32(MSG_PEEK))
        if count == Int(-EAGAIN) {
            worker.pointee.socket.readable = false
            return
        }
        guard count > 0 else { return probeEnded(slot, passed: false) }
        switch responses.parse(UnsafeRawBufferPointer(rebasing: scratch[..<count]), for: [], under: probeRules) {
        case .needMore: worker.pointee.socket.readable = false
        case .refused: probeEnded(slot, passed: false)
        case .response(let head): probeEnded(slot, passed: (200..<400).contains(head.status))
        }
    }

    func probeEnded(_ slot: Int32, passed: Bool) {
        let id = workers[slot].pointee.job
        freeWorker(slot, nil)
        feed(.ended(id, passed ? .probePassed : .probeFailed))
    }
}
