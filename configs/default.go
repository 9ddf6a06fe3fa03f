package configs

import "time"

// Default is the configuration when nobody sets anything. It is valid, but does not serve: the secret and the
// addresses of Redis and MySQL have no default (see CheckServe).
func Default() Config {
	return Config{
		HTTP: HTTP{Addr: ":8080", InternalAddr: "127.0.0.1:9090", TrustedProxies: []string{"127.0.0.0/8", "::1/128"}},
		Redis: Redis{
			Mode:       "standalone",
			Partitions: 16,
		},
		MySQL: MySQL{MaxOpen: 32, MaxIdle: 16, Migrate: "auto"},
		Persist: Persist{
			BatchRows:    1000,
			Interval:     Duration(20 * time.Millisecond),
			BacklogLimit: 1_000_000,
			BacklogBytes: 1 << 30,
			JournalBytes: 64 << 20,
		},
		Seq:       Seq{Jump: 1_000_000},
		Heat:      Heat{Window: Duration(5 * time.Minute), SnapshotTTL: Duration(2 * time.Second), Weights: HeatWeights{Speakers: 1}},
		Retention: Retention{Age: Duration(90 * 24 * time.Hour), BatchRows: 1000},
		Direct:    Direct{StrangerLimit: 3},
		Session:   Session{Policy: "multi"},
		Limits: Limits{
			UserRate:       20,
			UserBurst:      40,
			GroupRate:      200,
			ConnectionRate: 100,
			Connections:    100_000,
			Handshakes:     2000,
			FrameBytes:     64 << 10,
			MessageBytes:   12 << 10,
			TextBytes:      12_000,
		},
		Uploads: Uploads{
			Dir:      ".hearth/uploads",
			MaxBytes: 20 << 20,
			ContentTypes: []string{
				"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif",
				"audio/mpeg", "audio/mp4", "audio/aac", "audio/ogg", "audio/webm", "audio/wav",
				"video/mp4", "video/webm", "video/quicktime",
				"application/pdf", "application/zip", "application/octet-stream", "text/plain",
			},
			Expiry:     Duration(15 * time.Minute),
			Rate:       1,
			Burst:      20,
			Concurrent: 32,
		},
		WS: WS{
			PingInterval: Duration(25 * time.Second),
			PongTimeout:  Duration(10 * time.Second),
			WriteTimeout: Duration(10 * time.Second),
			QueueFrames:  256,
			QueueBytes:   1 << 20,
		},
		Webhooks: Webhooks{
			Timeout:               Duration(10 * time.Second),
			Workers:               16,
			RetryMin:              Duration(time.Second),
			RetryMax:              Duration(time.Hour),
			RetryFor:              Duration(24 * time.Hour),
			BeforeSendTimeout:     Duration(500 * time.Millisecond),
			BeforeSendFailure:     "open",
			BeforeSendConcurrency: 256,
		},
		Drain: Drain{LBDelay: Duration(5 * time.Second), Spread: Duration(20 * time.Second), Timeout: Duration(30 * time.Second)},
		Log:   Log{Level: "info", Format: "json"},
	}
}
