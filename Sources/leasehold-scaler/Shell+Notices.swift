import Logging
import ScalerCore
import ServiceKit
import Systemd

extension Shell {
    static func log(_ notice: Notice, to logger: Logger) {
        switch notice {
        case .target(let pool, let from, let to, let demand):
            logger.info("Workers wanted", metadata: [LogKey.pool: "\(pool)", "from": "\(from)", "to": "\(to)", "demand": "\(demand)"])
        case .ready(let pool, let port, let pid, let after):
            logger.notice(
                "A worker is ready",
                metadata: [
                    LogKey.pool: "\(pool)", "port": "\(port)", "pid": "\(pid)", "after": "\(text(after))",
                    LogKey.messageID: "\(MessageID.workerStarted)",
                ])
        case .foundAgain(let pool, let port, let pid):
            logger.notice(
                "A worker was found again",
                metadata: [
                    LogKey.pool: "\(pool)", "port": "\(port)", "pid": "\(pid)", LogKey.messageID: "\(MessageID.workerFound)",
                ])
        case .slow(let pool, let port, let pid, let after):
            logger.warning(
                "A worker's port does not accept; stopping it, continuing without it",
                metadata: [
                    LogKey.pool: "\(pool)", "port": "\(port)", "pid": "\(pid)", "after": "\(text(after))",
                    LogKey.messageID: "\(MessageID.workerSlow)",
                ])
        case .crashed(let pool, let port, let status, let delay):
            logger.warning(
                "A worker crashed; continuing, it starts again",
                metadata: [
                    LogKey.pool: "\(pool)", "port": "\(port)", "status": "\(status)", "restart-in": "\(text(delay))",
                    LogKey.messageID: "\(MessageID.workerExited)",
                ])
        case .startFailed(let pool, let port, let reason, let delay):
            logger.warning(
                "A worker could not be started; continuing, it is tried again",
                metadata: [
                    LogKey.pool: "\(pool)", "port": "\(port)", LogKey.reason: "\(reason)", "retry-in": "\(text(delay))",
                    LogKey.messageID: "\(MessageID.workerNotStarted)",
                ])
        case .ended(let pool, let port, let status):
            logger.notice(
                "A worker ended",
                metadata: [
                    LogKey.pool: "\(pool)", "port": "\(port)", "status": "\(status)", LogKey.messageID: "\(MessageID.workerExited)",
                ])
        case .killed(let pool, let port, let pid):
            logger.warning(
                "A worker did not end when told to and was killed; continuing",
                metadata: [
                    LogKey.pool: "\(pool)", "port": "\(port)", "pid": "\(pid)", LogKey.messageID: "\(MessageID.workerKilled)",
                ])
        case .portHeld(let pool, let port, let retry):
            logger.warning(
                "Another process listens on a worker's port; continuing without that port",
                metadata: [
                    LogKey.pool: "\(pool)", "port": "\(port)", "retry-in": "\(text(retry))", LogKey.messageID: "\(MessageID.portTaken)",
                ])
        case .portFree(let pool, let port):
            logger.notice(
                "A worker's port is free again",
                metadata: [LogKey.pool: "\(pool)", "port": "\(port)", LogKey.messageID: "\(MessageID.portFree)"])
        case .outOfPorts(let pool, let wanted, let running):
            logger.warning(
                "Fewer ports than workers wanted; continuing with what there is",
                metadata: [
                    LogKey.pool: "\(pool)", "wanted": "\(wanted)", "running": "\(running)", LogKey.messageID: "\(MessageID.portsShort)",
                ])
        }
    }

    private static func text(_ duration: Duration) -> String {
        let ms = duration.milliseconds
        return ms < 10_000 ? "\(ms)ms" : "\(ms / 1000)s"
    }
}
