// Package jobs holds what runs beside the requests: the persister, the writer of read marks, the leases that
// keep instances from doing the same work twice. Each job is Run(ctx) error: it blocks, returns nil when ctx is
// done, and leaves nothing behind. All instances run all jobs; no job's correctness rests on a lease.
package jobs
