// Package chaos breaks a running hearth and checks that its promises hold. Clients send, read, drop and come back while
// servers are killed, frozen, emptied, failed over and cut off; what the clients did and saw is a [History], and [Check]
// says which promise it breaks. The checker reads histories only, so that each of its checks is tested on a history in
// which exactly that promise is broken.
//
// The faults and the load are tests of this package: README.md tells how to run them.
package chaos
