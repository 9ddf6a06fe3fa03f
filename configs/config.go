package configs

// Config is everything an operator may set. Its zero value is of no use: start from Default or Load.
// The comments of the fields below are what hearth.yaml and `hearth config env` show.
type Config struct {
	// Who this instance is.
	Node Node `yaml:"node" envPrefix:"node_"`
	// Where it listens.
	HTTP HTTP `yaml:"http" envPrefix:"http_"`
	// Who may come in.
	Auth Auth `yaml:"auth" envPrefix:"auth_"`
	// Redis holds the numbers: seqs, recent messages, the write-behind log, heat. Version 7.0 or later,
	// with maxmemory-policy noeviction.
	Redis Redis `yaml:"redis" envPrefix:"redis_"`
	// MySQL 8.0 or later, or MariaDB 10.6 or later, holds every message.
	MySQL MySQL `yaml:"mysql" envPrefix:"mysql_"`
	// The write-behind: how accepted messages get from Redis into MySQL.
	Persist Persist `yaml:"persist" envPrefix:"persist_"`
	// How seqs go on after Redis has lost some.
	Seq Seq `yaml:"seq" envPrefix:"seq_"`
	// The ranking of hot rooms.
	Heat Heat `yaml:"heat" envPrefix:"heat_"`
	// How long messages are kept.
	Retention Retention `yaml:"retention" envPrefix:"retention_"`
	// Rooms: groups open to everybody.
	Rooms Rooms `yaml:"rooms" envPrefix:"rooms_"`
	// Direct conversations: two users.
	Direct Direct `yaml:"direct" envPrefix:"direct_"`
	// Logins: how many connections of a user stand beside each other.
	Session Session `yaml:"session" envPrefix:"session_"`
	// What one user, group or connection may do.
	Limits Limits `yaml:"limits" envPrefix:"limits_"`
	// Files that messages refer to. They are kept for ever: to delete old ones is for the bucket's own rules, or for you.
	Uploads Uploads `yaml:"uploads" envPrefix:"uploads_"`
	// Moderation: words that users may not write.
	Moderation Moderation `yaml:"moderation" envPrefix:"moderation_"`
	// WebSocket connections.
	WS WS `yaml:"ws" envPrefix:"ws_"`
	// Webhooks: what the app's back end is told of, and asked, by signed HTTP requests (Standard Webhooks).
	Webhooks Webhooks `yaml:"webhooks" envPrefix:"webhooks_"`
	// The console at /console, for operators.
	Console Console `yaml:"console" envPrefix:"console_"`
	// The page at /demo.
	Demo Demo `yaml:"demo" envPrefix:"demo_"`
	// Leaving: what happens between SIGTERM and the exit.
	Drain Drain `yaml:"drain" envPrefix:"drain_"`
	// The log, on standard error.
	Log Log `yaml:"log" envPrefix:"log_"`
}

// Node names the instance.
type Node struct {
	// Name of this instance, an id (A-Z a-z 0-9 _ . @ # -), different on every instance: it is told to clients and
	// stands in Redis and MySQL. Empty: the host's name and six random characters, new at every start.
	Name string `yaml:"name" validate:"omitempty,id"`
}

// HTTP is where hearth listens.
type HTTP struct {
	// host:port of the API, the WebSocket, /healthz and /readyz. An empty host means every interface.
	Addr string `yaml:"addr" validate:"listen"`
	// host:port of metrics, pprof, /healthz and /readyz, which the outside need not see. Empty: everything on
	// http.addr.
	InternalAddr string `yaml:"internal_addr" validate:"omitempty,listen"`
	// Origins of web pages, beside the server's own, that may connect, such as https://chat.example.com: scheme,
	// host and port, no path. Applies to the WebSocket and to CORS alike; apps that are not browsers send none.
	AllowedOrigins []string `yaml:"allowed_origins" validate:"dive,origin"`
	// Networks of the proxies in front, such as 10.0.0.0/8: only from these X-Forwarded-For is believed, from right to left
	// up to the first address that is none of theirs. What limits.address_rate counts by.
	TrustedProxies []string `yaml:"trusted_proxies" validate:"dive,network"`
}

// Auth is who may come in.
type Auth struct {
	// Secret that user tokens (JWT, HS256) are signed with, at least 32 bytes. The same on every instance and in
	// the server that signs the tokens. Required to serve.
	JWTHMACSecret Secret `yaml:"jwt_hmac_secret"`
	// API keys of app servers, which may do everything for anyone: <id>:<SHA-256 of the key, 64 hex digits>, a line
	// each, as `hearth keys new` prints it. The keys themselves stand nowhere.
	APIKeys []string `yaml:"api_keys" validate:"dive,apikey"`
	// Accept a user token as ?access_token=. Off because addresses end up in access logs and browser histories.
	AllowQueryToken bool `yaml:"allow_query_token"`
}

// Redis is the connection to Redis.
type Redis struct {
	// Addresses, each host:port: the server (standalone), the sentinels, or some nodes of the cluster. Required to serve.
	Addrs []string `yaml:"addrs" validate:"dive,hostport"`
	// standalone, sentinel or cluster.
	Mode string `yaml:"mode" validate:"oneof=standalone sentinel cluster"`
	// Name that the sentinels know the master by. Only with mode sentinel.
	SentinelMaster string `yaml:"sentinel_master"`
	// User of Redis' ACL. Empty: the default user.
	Username string `yaml:"username"`
	// Password. Empty: none.
	Password Secret `yaml:"password"`
	// Database number. A cluster has only 0.
	DB int `yaml:"db" validate:"min=0"`
	// Number of slots the keys are spread over. Fixed for the life of an installation: written to MySQL by the first
	// start, another number refuses to start. At least the number of masters the cluster may ever have.
	Partitions int `yaml:"partitions" validate:"min=1,max=1024"`
}

// MySQL is the connection to MySQL.
type MySQL struct {
	// Data source in the form of go-sql-driver: user:password@tcp(host:3306)/database?tls=true. Secret, for the
	// password in it. Required to serve.
	DSN Secret `yaml:"dsn" validate:"omitempty,dsn"`
	// Connections at most, per instance, two or more. All instances together must stay below the server's max_connections.
	MaxOpen int `yaml:"max_open" validate:"min=2"`
	// Connections kept open while nothing is asked; at most max_open.
	MaxIdle int `yaml:"max_idle" validate:"min=1"`
	// Schema at start: auto brings it up to date, under a lock between instances; check refuses to start when it
	// is too old; off does not look.
	Migrate string `yaml:"migrate" validate:"oneof=auto check off"`
}

// Persist is the write-behind.
type Persist struct {
	// Rows in one INSERT at most. More is faster until max_allowed_packet of the server is reached
	// (rows of up to limits.message_bytes each).
	BatchRows int `yaml:"batch_rows" validate:"min=1,max=4000"`
	// How long an accepted message waits for others to share its INSERT. Longer spares MySQL and makes
	// ack "durable" slower.
	Interval Duration `yaml:"interval" validate:"min=1ms,max=10s"`
	// Messages that may wait for MySQL, per partition; further sends are refused with overloaded. An entry takes
	// about 1 kB of Redis memory: the limit must fit into what Redis has.
	BacklogLimit int64 `yaml:"backlog_limit" validate:"min=1000"`
	// Bytes of Redis memory that these messages may take, per partition, as Redis estimates it; further sends are
	// refused likewise. All partitions together must leave Redis room for what else it holds.
	BacklogBytes int64 `yaml:"backlog_bytes" validate:"min=1048576"`
	// Memory, in bytes, in which an instance remembers what it has acknowledged or shown until MySQL has it. That is what
	// Redis may lose without a message being lost; filled up (MySQL away for long), the oldest are given up.
	JournalBytes int64 `yaml:"journal_bytes" validate:"min=1048576"`
}

// Seq is how seqs go on after a loss.
type Seq struct {
	// How many seqs a group skips when Redis has lost its numbers, so that an old master that goes on alone does
	// not reach the new ones. More than any group is sent during a failover; the skipped ones are a hole of reason lost.
	Jump int64 `yaml:"jump" validate:"min=1000,max=1000000000"`
}

// Heat is the ranking of hot rooms.
type Heat struct {
	// A group's heat is the number of different people who spoke in it within this time, as long as weights are not changed.
	Window Duration `yaml:"window" validate:"min=1s,max=24h"`
	// Age of the ranking at most. It is computed once in this time for all instances together.
	SnapshotTTL Duration `yaml:"snapshot_ttl" validate:"min=100ms,max=1m"`
	// What heat is made of: speakers × the number of people who spoke within the window + messages × the number of their
	// messages + online × the number of viewers. Only groups in which somebody spoke are listed. Window and weights have to be
	// the same on all instances.
	Weights HeatWeights `yaml:"weights" envPrefix:"weights_"`
}

// HeatWeights are what each number counts for in a group's heat.
type HeatWeights struct {
	// Different people who spoke.
	Speakers int `yaml:"speakers" validate:"min=0,max=1000"`
	// Messages. Above 0, Redis notes each message for the length of the window, some 120 bytes; at 0 it counts none. Once it was
	// raised from 0 on all instances it is right after one window.
	Messages int `yaml:"messages" validate:"min=0,max=1000"`
	// Viewers: people who have the group open. Above 0, those of all groups in the ranking are read for each snapshot.
	Online int `yaml:"online" validate:"min=0,max=1000"`
}

// Retention is how long messages are kept.
type Retention struct {
	// Age at which a message is deleted, for good: in its place there is a hole, with the reason expired. 0: messages are
	// kept for ever. Under 10 minutes, and when Redis has lost its memory, a repeat of a deleted send is stored anew.
	Age Duration `yaml:"age" validate:"omitempty,min=1s"`
	// Rows that one transaction deletes at most, all of one group. More is faster, and holds the group's row for longer.
	BatchRows int `yaml:"batch_rows" validate:"min=1,max=10000"`
}

// Rooms is about groups of type room.
type Rooms struct {
	// Entering a room that does not exist creates it. Off because then every user can create rooms.
	AutoCreate bool `yaml:"auto_create"`
}

// Direct is about conversations of two users.
type Direct struct {
	// Messages that a user may send to somebody who has never written in their conversation; the next is refused with
	// stranger_limit until the other side writes. What app servers send does not count. 0: no limit.
	StrangerLimit int `yaml:"stranger_limit" validate:"min=0,max=1000"`
}

// Session is what a further login of a user does to the ones before.
type Session struct {
	// multi: they stay, up to 10 connections a user, then the oldest is closed (4502). replace: a login closes the
	// former one of the same device class (4502), on whatever instance it is. reject: it is refused itself while
	// there is one (409 already_online).
	Policy string `yaml:"policy" validate:"oneof=multi replace reject"`
}

// Limits bounds what one user, group or connection may do. App servers are not bound by the rates.
type Limits struct {
	// Messages a second that one user may send, over all groups and connections. Each instance counts by itself, and all
	// together in one group. 0: no limit.
	UserRate float64 `yaml:"user_rate" validate:"min=0"`
	// Messages that one user may send at once, before user_rate binds.
	UserBurst int `yaml:"user_burst" validate:"min=1"`
	// Messages a second in one group. What is over is refused with rate_limited, low priority first. 0: no limit.
	GroupRate float64 `yaml:"group_rate" validate:"min=0"`
	// Frames a second from one connection, of whatever kind. 0: no limit.
	ConnectionRate float64 `yaml:"connection_rate" validate:"min=0"`
	// HTTP requests a second from one address (IPv6: from one /64), handshakes of WebSockets among them; what is over is
	// refused with 429 before anything else is done. 0: no limit, because behind a proxy that http.trusted_proxies does not
	// name all clients are one address. 100 is a good value once it does; many people may share an address (offices,
	// phones). Each instance counts by itself. Proxies' own requests and /healthz, /readyz, /metrics do not count.
	AddressRate int `yaml:"address_rate" validate:"min=0,max=1000000"`
	// Connections of this instance at most. One more is refused with 503 (overloaded) and a time to come back; a load
	// balancer finds it another instance. Each takes a file descriptor. 0: no limit.
	Connections int `yaml:"connections" validate:"min=0"`
	// Connections a second that this instance lets in, and as many at once; those above are refused likewise. It is for
	// the moment when another instance has died and all of its clients come: letting in takes two cores about a
	// millisecond, Redis and MySQL included, and who is connected should not feel it. 0: no limit.
	Handshakes float64 `yaml:"handshakes" validate:"min=0"`
	// Bytes of a frame from a client. A longer one closes the connection (1009).
	FrameBytes int `yaml:"frame_bytes" validate:"min=1024,max=1048576"`
	// Bytes of a message's body, less insignificant white space; at most frame_bytes.
	MessageBytes int `yaml:"message_bytes" validate:"min=256"`
	// Bytes of the text in one text element; at most message_bytes.
	TextBytes int `yaml:"text_bytes" validate:"min=1"`
}

// Uploads is where files go, and what they may be.
type Uploads struct {
	// Folder to keep them in; it is made when it is missing. Right for one instance: several need a folder that they
	// share, or bucket_url. Empty, with no bucket_url either: no uploads.
	Dir string `yaml:"dir"`
	// Bucket to keep them in instead: s3://name?region=eu-central-1, and for other makes than AWS also
	// &endpoint=https://minio.example&use_path_style=true. Credentials come from where the AWS SDK looks for them:
	// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, or the machine's role.
	BucketURL string `yaml:"bucket_url" validate:"omitempty,bucket"`
	// Clients send the bytes straight to the bucket, with a URL signed by S3: they do not pass through the instances,
	// which then cannot look whether a picture is one. For browsers the bucket needs CORS rules of its own.
	Direct bool `yaml:"direct"`
	// Secret that upload URLs are signed with, at least 32 bytes, the same on every instance. Empty: made from
	// auth.jwt_hmac_secret.
	Secret Secret `yaml:"secret"`
	// Bytes of one file at most.
	MaxBytes int64 `yaml:"max_bytes" validate:"min=1,max=1073741824"`
	// Types that are taken. Pictures, sound and video of this list are shown in browsers; what else may be added is
	// served as a file to be saved.
	ContentTypes []string `yaml:"content_types" validate:"dive,mediatype"`
	// How long an upload URL holds.
	Expiry Duration `yaml:"expiry" validate:"min=1s,max=24h"`
	// Upload URLs a second that one user may ask an instance for. 0: no limit.
	Rate float64 `yaml:"rate" validate:"min=0"`
	// Upload URLs that one user may ask for at once, before rate binds.
	Burst int `yaml:"burst" validate:"min=1"`
	// Uploads that come through this instance at the same time; one more is refused with overloaded. On its way to S3
	// each takes as much memory as it has bytes, up to 40 MB; with direct, none.
	Concurrent int `yaml:"concurrent" validate:"min=1"`
}

// Moderation is the word list.
type Moderation struct {
	// File with words, one a line, as "reject: word" or "mask: word": a message of a user with the first is refused
	// (rejected), the second is replaced by stars; in the name of a group both are refused. A word stands by itself, or
	// *anywhere*; case does not matter. Read again when it changes, and on SIGHUP; a list with a mistake leaves the former
	// one in force. App servers are not held to it. 10,000 words take about 100 MB. Empty: no list.
	WordsFile string `yaml:"words_file"`
}

// WS is how WebSocket connections are kept.
type WS struct {
	// Time between pings, ± 10 % so that connections opened together do not ping together. Below the idle timeout of
	// every load balancer on the way.
	PingInterval Duration `yaml:"ping_interval" validate:"min=1s,max=10m"`
	// Time without a pong or any frame, after a ping, until the connection is closed (4001).
	PongTimeout Duration `yaml:"pong_timeout" validate:"min=1s,max=1m"`
	// Time that one write to a socket may take, then the connection is closed.
	WriteTimeout Duration `yaml:"write_timeout" validate:"min=1s,max=1m"`
	// Frames that may wait for a slow connection. Beyond that the queue is let go and the client told to resync.
	QueueFrames int `yaml:"queue_frames" validate:"min=16"`
	// Bytes that may wait for a slow connection. Memory of one connection at most; idle ones take none of it.
	QueueBytes int `yaml:"queue_bytes" validate:"min=65536"`
}

// Webhooks is what the app's back end is told and asked.
type Webhooks struct {
	// http or https URL that events are posted to. Empty: none. Set again after a time without one, it is told all that was
	// stored meanwhile in groups that it knew.
	URL WebURL `yaml:"url" validate:"omitempty,weburl"`
	// Secret that requests are signed with: whsec_ and the base64 of 24 bytes at least, such as
	// whsec_$(openssl rand -base64 32) gives. Several, separated by commas, while receivers change from one to the next:
	// then each request carries a signature of each. Required with any URL.
	Secret Secret `yaml:"secret"`
	// How long one request may take. A receiver should answer at once and do its work behind that.
	Timeout Duration `yaml:"timeout" validate:"min=100ms,max=1m"`
	// Groups whose events an instance posts beside each other; those of one group go one after the other. While the receiver
	// fails for several groups and answers none, it is asked by one at a time.
	Workers int `yaml:"workers" validate:"min=1,max=1000"`
	// Pause before an event that failed is posted again. It grows by a quarter from try to try, up to retry_max.
	RetryMin Duration `yaml:"retry_min" validate:"min=100ms,max=1h"`
	// The longest pause between tries.
	RetryMax Duration `yaml:"retry_max" validate:"min=1s,max=24h"`
	// Age at which an event that still fails is given up: its group goes on without it, and hearth hooks list shows it. One that
	// is answered with 410 Gone is given up at once.
	RetryFor Duration `yaml:"retry_for" validate:"min=1s,max=720h"`
	// http or https URL that is asked about each message before it is accepted, and may reject it or change its body.
	// Empty: messages are accepted unasked.
	BeforeSendURL WebURL `yaml:"before_send_url" validate:"omitempty,weburl"`
	// How long a message waits for that at most, its turn among others included.
	BeforeSendTimeout Duration `yaml:"before_send_timeout" validate:"min=10ms,max=10s"`
	// What becomes of a message when there is no good answer in time: open accepts it as it is, closed refuses it with
	// unavailable, so that its sender tries again. A receiver that has failed five times in a row is not asked for a second, then
	// for up to ten, and this decides meanwhile.
	BeforeSendFailure string `yaml:"before_send_failure" validate:"oneof=open closed"`
	// Messages that an instance asks about at once. More wait for their turn.
	BeforeSendConcurrency int `yaml:"before_send_concurrency" validate:"min=1,max=10000"`
}

// Console is the page for operators, and who may look.
type Console struct {
	// Keys of those who may: <id>:<SHA-256 of the key, 64 hex digits>, a line each, as `hearth keys new` prints it. They see
	// every group, write as system and recall; what they change is logged with the id. The console is served on
	// http.internal_addr, or on http.addr when that is empty. The same keys on every instance. Empty: no console.
	Keys []string `yaml:"keys" validate:"dive,apikey"`
}

// Demo is the page to try hearth.
type Demo struct {
	// Serve /demo, as hearth dev does: a page to try hearth, in rooms demo-lobby, demo-music and demo-games that are made at
	// the start. Danger: whoever can open it gets a token for an hour, of a user demo-… of his choice, and with it may do
	// all that a user may – read and write every open room, make groups, upload files. Not beside rooms of real users.
	Enabled bool `yaml:"enabled"`
}

// Drain is the way out.
type Drain struct {
	// Time between turning unready and refusing new connections: what the load balancer needs to notice. Requests that are
	// under way then have three seconds; uploads and downloads that take longer are cut off.
	LBDelay Duration `yaml:"lb_delay" validate:"min=0s,max=10m"`
	// Time over which connections are closed at most, so that not all of them come back to the others at once. Few
	// connections take less.
	Spread Duration `yaml:"spread" validate:"min=0s,max=10m"`
	// Time from SIGTERM to the exit at most, lb_delay and spread included. Below the orchestrator's own grace period.
	Timeout Duration `yaml:"timeout" validate:"min=1s,max=1h"`
}

// Log is what is logged, and how.
type Log struct {
	// Least severe level that is logged: trace, debug, info, warn or error.
	Level string `yaml:"level" validate:"oneof=trace debug info warn error"`
	// json (a line each, for machines) or console (for people).
	Format string `yaml:"format" validate:"oneof=json console"`
}
