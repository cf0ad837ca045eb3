"""The messages themselves, in the form that `catalogue` reads."""

# ruff: noqa: E501
from __future__ import annotations

REMOTE = r"""
@ sshd fork linux
C~flat refused connect from {ip} ({ip#1})
C warning: /etc/hosts.allow, line {n:3-40}: can't verify hostname: getaddrinfo({domain}, AF_INET) failed
C:scan.invalid Invalid user {login} from {ip}
>.97 0.2 input_userauth_request: invalid user {login} [preauth]
>.9 1.5 Failed password for invalid user {login} from {ip} port {port} ssh2
>.85 0.8 Connection closed by {ip} [preauth]
C:scan.root Failed password for root from {ip} port {port} ssh2
>.6 1 Received disconnect from {ip}: 11: Bye Bye [preauth]
o:scan.reverse reverse mapping checking getaddrinfo for {domain} [{ip}] failed - POSSIBLE BREAK-IN ATTEMPT!
o:scan.ident Did not receive identification string from {ip}
u:scan.bad Bad protocol version identification '{word}' from {ip} port {port}
u Received disconnect from {ip}: 3: com.jcraft.jsch.JSchException: Auth fail [preauth]
c~office Accepted publickey for {user} from {ip} port {port} ssh2: RSA {fp}
>.99 0.1 pam_unix(sshd:session): session opened for user {user} by (uid=0)
>.97 0.3 systemd-logind[d]|New session {n:1-60000} of user {user}.
>>.9 400 systemd-logind[d]|Removed session {n:1-60000}.
>.95 350 pam_unix(sshd:session): session closed for user {user}
o~office Accepted password for {user} from {ip} port {port} ssh2
>.99 0.1 pam_unix(sshd:session): session opened for user {user} by (uid=0)
u:peer.sshd error: connect_to {host} port {port}: failed.
u fatal: Read from socket failed: Connection reset by peer [preauth]
r fatal: Write failed: Broken pipe
r:peer.sshread Timeout, client not responding from user {user} {ip} port {port}
@ CRON fork linux
J300 .4 pam_unix(cron:session): session opened for user root by (uid=0)
>.999 0.05 (root) CMD ({cmd})
>.999 2 pam_unix(cron:session): session closed for user root
J3600 .95 (root) CMD (   cd / && run-parts --report /etc/cron.hourly)
J600 .5 (root) CMD (command -v debian-sa1 > /dev/null && debian-sa1 1 1)
J86400 .9 (root) CMD (test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily ))
>.9 20 logrotate|ALERT: {path} rotated, {n:1-9} old copies kept
>.8 30 rsyslogd|[origin software="rsyslogd" swVersion="8.4.2" x-pid="{n:300-9000}" x-info="http://www.rsyslog.com"] rsyslogd was HUPed
>.5 45 anacron[f]|Job `cron.daily' started
>>.95 90 anacron[f]|Job `cron.daily' terminated
J604800 .9 (root) CMD (test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.weekly ))
>.8 60 fstrim|{path}: {n:1000-60000} MiB trimmed
u (CRON) error (grandchild #{n:1000-32000} failed with exit status {n:1-127})
r (CRON) info (No MTA installed, discarding output)
@ sudo none linux
o~office {user} : TTY=pts/{n:0-9} ; PWD={path} ; USER=root ; COMMAND={cmd}
>.99 0.05 pam_unix(sudo:session): session opened for user root by {user}(uid=0)
>.99 8 pam_unix(sudo:session): session closed for user root
v pam_unix(sudo:auth): authentication failure; logname={user} uid={n:1000-1100} euid=0 tty=/dev/pts/{n:0-9} ruser={user#1} rhost=  user={user#1}
"""

HYPERVISOR = r"""
@ libvirtd daemon kvm
o:vmstart~office libvirt version: {ver}
>.95 0.4 kernel|device vnet{n:0-60} entered promiscuous mode
>.95 0.6 kernel|br{n:0-6}: port {n:1-30}(vnet{n:0-60}) entered listening state
>>.97 2 kernel|br{n:0-6}: port {n:1-30}(vnet{n:0-60}) entered learning state
>>>.97 15 kernel|br{n:0-6}: port {n:1-30}(vnet{n:0-60}) entered forwarding state
>.8 3 dnsmasq-dhcp[d]|DHCPDISCOVER(virbr{n:0-3}) {mac}
>>.95 0.2 dnsmasq-dhcp[d]|DHCPOFFER(virbr{n:0-3}) {ip} {mac}
>>>.95 1 dnsmasq-dhcp[d]|DHCPREQUEST(virbr{n:0-3}) {ip} {mac}
>>>>.99 0.1 dnsmasq-dhcp[d]|DHCPACK(virbr{n:0-3}) {ip} {mac} {vm}
>.5 5 @box *dhcp
o:vmstop~office internal error: End of file from monitor
>.9 0.5 kernel|br{n:0-6}: port {n:1-30}(vnet{n:0-60}) entered disabled state
>.9 0.3 kernel|device vnet{n:0-60} left promiscuous mode
o:migrate~office migration of domain '{vm}' to qemu+tls://{peer}/system: phase {begin|prepare|perform}
>.3 2 @peer *vmstart
>.9 30 *vmstop
u Cannot get interface MTU on 'br{n:0-6}': No such device
u:peer.libvirt internal error: received hangup / error event on socket
u:peer.keepalive internal error: connection closed due to keepalive timeout
o:peer.remote Failed to connect to remote libvirt URI qemu+tls://{peer}/system: unable to connect to server at '{peer#1}:16514': {No route to host|Connection timed out|Connection refused}
u:stor.libvirt Timed out during operation: cannot acquire state change lock (held by {remoteDispatchDomainGetBlockInfo|qemuProcessReconnect|remoteDispatchDomainMemoryStats})
u:stor.monitor cannot read header '{path}': Input/output error
r operation failed: domain '{vm}' already exists with uuid {uuid}
c End of file while reading data: Input/output error
@ qemu-kvm none kvm
u:stor.qemu block I/O error in device 'drive-virtio-disk{n:0-5}': {Input/output error|No space left on device|Operation not permitted} ({n:5-28})
r terminating on signal 15 from pid {n:300-32000}
@ kernel none kvm
u kvm [{n:1000-32000}]: vcpu{n:0-7} unhandled rdmsr: 0x{hex:3}
o kvm: zapping shadow pages for mmio generation wraparound
u:stor.hung INFO: task {qemu-kvm|jbd2/dm-0-8|kworker/u16:2|libvirtd|flush-253:0}:{n:300-32000} blocked for more than 120 seconds.
>.97 0.01       {Not tainted|Tainted: G        W} {ver} #1
>.97 0.02 "echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.
>.9 0.05 Call Trace:
>>.9 0.01  [<{hex:16}>] schedule+0x29/0x70
>>.9 0.02  [<{hex:16}>] io_schedule+0x{hex:2}/0x{hex:2}
>>.7 0.03  [<{hex:16}>] wait_on_page_bit+0x{hex:2}/0x{hex:2}
r:hang.soft NMI watchdog: BUG: soft lockup - CPU#{n:0-31} stuck for {n:21-23}s! [{qemu-kvm|kworker/3:1|ksmd}:{n:300-32000}]
u perf interrupt took too long ({n:2500-5200} > {n:2495-5000}), lowering kernel.perf_event_max_sample_rate to {n:12500-50000}
"""

STORAGE = r"""
@ multipathd daemon kvm shared
u:stor.path {wwid}: sd{letters} - path offline
u:stor.checker checker failed path {n:8-65}:{n:0-240} in map {wwid}
>.95 0.1 {wwid}: remaining active paths: {n:0-3}
o:storup.checker sd{letters}: directio checker reports path is up
>.9 0.2 {n:8-65}:{n:0-240}: reinstated
>>.9 0.1 {wwid}: remaining active paths: {n:1-4}
@ iscsid daemon kvm shared
r:stor.iscsi Kernel reported iSCSI connection {n:1-8}:0 error (1011 - ISCSI_ERR_CONN_FAILED: iSCSI connection failed) state (3)
r:storup.iscsi connection{n:1-8}:0 is operational after recovery ({n:1-40} attempts)
@ kernel none kvm shared
r:stor.scsi sd {n:0-9}:0:0:{n:0-15}: [sd{letters}] FAILED Result: hostbyte=DID_TRANSPORT_DISRUPTED driverbyte=DRIVER_OK
u:stor.ping connection{n:1-8}:0: ping timeout of 5 secs expired, recv timeout 5, last rx {n:1000000-9000000}, last ping {n:1000000-9000000}, now {n:1000000-9000000}
u:stor.nfs nfs: server {peer} not responding, still trying
u:storup.nfs nfs: server {peer} OK
u:peer.nfs nfs: server {peer} not responding, timed out
@ smartd daemon linux
J1800 .6 Device: /dev/sd{letter} [SAT], SMART Usage Attribute: 194 Temperature_Celsius changed from {n:20-60} to {n:20-60}
u Device: /dev/sd{letter} [SAT], {n:1-80} Currently unreadable (pending) sectors
r Device: /dev/sd{letter} [SAT], ATA error count increased from {n:0-200} to {n:0-200}
"""

NETWORK = r"""
@ ntpd daemon linux
o:peer.ntp no servers reachable
c synchronized to {ip}, stratum {n:1-4}
o kernel time sync status change {hex:4}
u time reset {float} s
@ named daemon dns
B client {ip}#{port}: view world: query (cache) '{domain}/{A|AAAA|ANY|MX|PTR}/IN' denied
b~office error (unexpected RCODE {SERVFAIL|REFUSED|FORMERR}) resolving '{domain}/{A|AAAA|PTR}/IN': {ip}#53
f:peer.dns error ({network unreachable|connection refused|host unreachable}) resolving '{domain}/{A|AAAA|NS}/IN': {ip}#53
c lame server resolving '{domain}' (in '{domain}'?): {ip}#53
@ kernel none linux
r:link.down eth{n:0-3}: NIC Link is Down
>.8 0.1 bonding: bond{n:0-1}: link status definitely down for interface eth{n:0-3}, disabling it
>>.5 0.1 bonding: bond{n:0-1}: making interface eth{n:0-3} the new active one.
r:linkup.up eth{n:0-3}: NIC Link is Up {100|1000|10000} Mbps Full Duplex, Flow Control: {None|RX/TX}
>.8 0.2 bonding: bond{n:0-1}: link status definitely up for interface eth{n:0-3}
u br{n:0-6}: received packet on eth{n:0-3} with own address as source address
c martian source {ip} from {ip}, on dev br{n:0-6}
>.99 0.01 ll header: {hex:8}: {mac}
@ snmpd daemon linux
f Connection from UDP: [{ip}]:{port}->[{ip}]:161
u:stor.snmpd error on subcontainer 'ia_addr' insert (-1)
@ postfix/smtp fork linux
c {hex:10}: to=<{user}@{domain}>, relay={domain}[{ip}]:25, delay={float}, delays={floats}, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as {hex:10})
u:peer.smtp connect to {domain}[{ip}]:25: {Connection timed out|No route to host}
@ rsyslogd none linux
r:peer.rsyslog action 'action {n:1-20}' suspended, next retry is {date} [try http://www.rsyslog.com/e/2007 ]
r:peerup.rsyslog action 'action {n:1-20}' resumed (module 'builtin:omfwd') [try http://www.rsyslog.com/e/2359 ]
"""

BOOT = r"""
@ kernel none linux
B0 imklog 5.8.11, log source = /proc/kmsg started.
B0.1 Initializing cgroup subsys cpuset
B0.2 Linux version {ver} (mockbuild@{host}) (gcc version 4.8.3) #1 SMP {date}
B0.3 Command line: BOOT_IMAGE=/vmlinuz-{ver} root=/dev/mapper/vg-root ro quiet
B0.5 Memory: {n:10000-60000}k/{n:10000-60000}k available
B1.5 SCSI subsystem initialized
B5/v .9 EXT4-fs (dm-{n:0-9}): mounted filesystem with ordered data mode. Opts: {words}
B5.2/v EXT4-fs (dm-{n:0-9}): recovery complete
B9 Adding {n:1000-60000}k swap on /dev/dm-{n:0-9}.  Priority:-1 extents:1 across:{n:1000-60000}k
@ systemd daemon linux
B3 Detected virtualization {kvm|vmware|none}.
B6 Started {unit}.
S0 Stopping {unit}...
S4 Stopped {unit}.
S7 Reached target Shutdown.
c Started Session {n:1-60000} of user {user}.
u Unit {unitname}.service entered failed state.
@ rsyslogd none linux
S9 [origin software="rsyslogd" swVersion="8.4.2" x-pid="{n:300-9000}" x-info="http://www.rsyslog.com"] exiting on signal 15.
B0 [origin software="rsyslogd" swVersion="8.4.2" x-pid="{n:300-9000}" x-info="http://www.rsyslog.com"] start
@ dpkg fork linux
r:upg.status status installed {unitname}:amd64 {ver}
"""


DAEMONS = r"""
@ ntpd daemon linux
c Soliciting pool server {ip}
u peer {ip} unreachable, interface stats: received={n:0-5000}, sent={n:0-5000}
o frequency error {float} PPM exceeds tolerance 500 PPM
u:peer.ntpun {ip} interface {ip} -> (none)
r Listen normally on {n:2-60} vnet{n:0-60} {ip6} UDP 123
r Deleting interface #{n:2-60} vnet{n:0-60}, {ip6}#123, interface stats: received={n:0-900}, sent={n:0-900}, dropped={n:0-90}, active_time={n:100-60000} secs
u:peerup.ntp synchronized to LOCAL(0), stratum 10
v clock_step {float}
@ chronyd daemon rpm
c Selected source {ip}
o Can't synchronise: no majority
u:peer.chrony Source {ip} offline
u:peerup.chrony Source {ip} online
o Source {ip} replaced with {ip}
r System clock wrong by {float} seconds, adjustment started
@ systemd daemon linux
f Started Session {n:1-60000} of user {user}.
>.5 300 Removed slice User Slice of {user}.
c Created slice User Slice of {user}.
c Starting User Slice of {user}.
o Reloading.
u:upg.reload Reexecuting.
u {unitname}.service holdoff time over, scheduling restart.
>.9 0.2 Stopping {unit}...
>.9 0.6 Starting {unit}...
>>.95 1.5 Started {unit}.
r {unitname}.service: main process exited, code=exited, status={n:1-255}/{FAILURE|NOTIMPLEMENTED|EXEC}
r {unitname}.service start request repeated too quickly, refusing to start.
r Failed to start {unit}.
u Starting Cleanup of Temporary Directories...
>.99 1 Started Cleanup of Temporary Directories.
o Time has been changed
r Cannot add dependency job for unit {unitname}.socket, ignoring: Unit {unitname}.socket failed to load: No such file or directory.
u:stor.mount {path} mount process still around after SIGKILL. Ignoring.
u:stor.jobs Job {unitname}.service/start timed out.
@ systemd-logind daemon linux
u Failed to abandon session scope: Connection reset by peer
v New seat seat0.
r Removed session c{n:1-900}.
@ dbus daemon linux
c [system] Activating via systemd: service name='org.freedesktop.{word}1' unit='{unitname}.service'
>.98 0.3 [system] Successfully activated service 'org.freedesktop.{word}1'
u:stor.dbus [system] Failed to activate service 'org.freedesktop.{word}1': timed out
r [system] Rejected send message, {n:1-9} matched rules; type="method_call", sender=":{float}" (uid={n:0-1100} pid={n:300-32000} comm="{word}")
@ console-kit-daemon daemon linux
C GLib-CRITICAL: Source ID {n:10000-9000000} was not found when attempting to remove it
@ rsyslogd none linux
o rsyslogd-2177: imuxsock lost {n:2-900} messages from pid {n:300-32000} due to rate-limiting
u imuxsock begins to drop messages from pid {n:300-32000} due to rate-limiting
r:peer.rsysconn cannot connect to {ip}:514: {Connection timed out|No route to host|Connection refused}
u omfwd: TCPSendBuf error -2027, destruct TCP Connection to {ip}:514
@ snmpd daemon linux
F Received SNMP packet(s) from UDP: [{ip}]:{port}->[{ip}]:161
o Cannot statfs {path}: {Permission denied|No such file or directory|Transport endpoint is not connected}
r truncating integer value > 32 bits
u netsnmp_assert __extension__ ({word}) failed
u:stor.snmphr hrStorageTable: statfs on {path} hung
r Received TERM or STOP signal...  shutting down...
r NET-SNMP version 5.7.2
u ioctl {n:30000-36000} returned -1
@ postfix/smtpd fork linux
c connect from {domain}[{ip}]
>.99 2 disconnect from {domain}[{ip}]
>.2 1 NOQUEUE: reject: RCPT from {domain}[{ip}]: 554 5.7.1 <{login}@{domain}>: Relay access denied; from=<{login}@{domain}> to=<{login}@{domain}> proto=ESMTP helo=<{domain}>
o warning: hostname {domain} does not resolve to address {ip}: Name or service not known
u lost connection after {AUTH|EHLO|CONNECT|DATA} from {domain}[{ip}]
r SSL_accept error from {domain}[{ip}]: {lost connection|-1|0}
r warning: TLS library problem: error:{hex:8}:SSL routines:SSL3_GET_CLIENT_HELLO:wrong version number:s3_srvr.c:{n:900-1200}:
@ postfix/pickup fork linux
c {hex:10}: uid={n:0-1100} from=<{user}>
>.99 0.1 postfix/cleanup[f]|{hex:10}: message-id=<{n:10000-90000}.{hex:10}@{host}>
>.98 0.2 postfix/qmgr[d]|{hex:10}: from=<{user}@{host}>, size={n:300-60000}, nrcpt={n:1-9} (queue active)
>>.95 2 postfix/local[f]|{hex:10}: to=<{user}@{host}>, orig_to=<{user}>, relay=local, delay={float}, delays={floats}, dsn=2.0.0, status=sent (delivered to mailbox)
>>>.97 0.1 postfix/qmgr[d]|{hex:10}: removed
@ postfix/qmgr daemon linux
r warning: connect to transport private/{word}: Connection refused
u:peer.defer {hex:10}: to=<{user}@{domain}>, relay=none, delay={n:300-60000}, delays={floats}, dsn=4.4.1, status=deferred (connect to {domain}[{ip}]:25: {Connection timed out|No route to host})
@ postfix/anvil fork linux
o statistics: max connection rate {n:1-20}/60s for (smtp:{ip}) at {date}
>.99 0.01 statistics: max connection count {n:1-9} for (smtp:{ip}) at {date}
>.99 0.02 statistics: max cache size {n:1-20} at {date}
@ cron daemon linux
u (*system*) RELOAD ({path})
r (CRON) bad minute; while reading {path}
u:stor.cron (CRON) DEATH (can't lock /var/run/crond.pid, otherpid may be {n:300-32000}): Resource temporarily unavailable
@ su none linux
u Successful su for {user} by root
>.99 0.01 + /dev/pts/{n:0-9} root:{user}
>.99 0.05 pam_unix(su:session): session opened for user {user} by {user}(uid=0)
>>.95 60 pam_unix(su:session): session closed for user {user}
r FAILED su for root by {user}
>.99 0.01 - /dev/pts/{n:0-9} {user}:root
@ anacron fork linux
o Normal exit ({n:0-4} jobs run)
u Will run job `cron.{daily|weekly|monthly}' in {n:1-20} min.
>.98 300 Jobs will be executed sequentially
u Updated timestamp for job `cron.{daily|weekly|monthly}' to {date}
@ smartd daemon linux
c Device: /dev/sd{letter} [SAT], SMART Prefailure Attribute: 1 Raw_Read_Error_Rate changed from {n:60-120} to {n:60-120}
o Device: /dev/sd{letter} [SAT], SMART Usage Attribute: 190 Airflow_Temperature_Cel changed from {n:40-80} to {n:40-80}
o Device: /dev/sd{letter} [SAT], SMART Usage Attribute: 195 Hardware_ECC_Recovered changed from {n:10-90} to {n:10-90}
u Device: /dev/sd{letter} [SAT], {n:1-40} Offline uncorrectable sectors
r Device: /dev/sd{letter} [SAT], FAILED SMART self-check. BACK UP DATA NOW!
u Device: /dev/sd{letter} [SAT], self-test in progress, {n:10-90}% remaining
>.8 900 Device: /dev/sd{letter} [SAT], previous self-test completed without error
r Device: /dev/sd{letter} [SAT], not capable of SMART self-check
u:stor.smart Device: /dev/sd{letter}, failed to read SMART values
@ mdadm daemon linux
r Rebuild{n:10-90} event detected on md device /dev/md{n:0-5}
J604800 .5 RebuildStarted event detected on md device /dev/md{n:0-5}
>.95 900 RebuildFinished event detected on md device /dev/md{n:0-5}, component device  mismatches found: {n:0-900}
@ mcelog daemon kvm
v Hardware event. This is not a software error.
>.99 0.05 MCE 0
>.99 0.06 CPU {n:0-31} BANK {n:0-20} TSC {hex:12}
>.99 0.07 STATUS {hex:16} MCGSTATUS {n:0-7}
@ ipmievd daemon hv
u Temperature sensor {word} Upper {Non-critical|Critical} going high
u Power Supply sensor PSU{n:1-2} {Failure detected|Power Supply AC lost|Presence detected}
r Fan sensor FAN{n:1-9} Lower Critical going low
r Event Log is {n:70-99}% full
@ irqbalance daemon linux
r irq {n:16-120} affinity_hint subset empty
u WARNING, cpu{n:0-31} has no local numa node
@ acpid none linux
r client {n:300-32000}[0:0] has disconnected
r client connected from {n:300-32000}[0:0]
@ collectd daemon linux
u plugin_read_thread: read-function of plugin `{word}' failed. Will suspend it for {float} seconds.
u:peer.collectd network plugin: sendto (2) failed: {Network is unreachable|No route to host}. Closing sending socket.
c uc_update: Value too old: name = {host}/{word}-{n:0-9}/{word}; value time = {n:1443000000-1447900000}; last cache update = {n:1443000000-1447900000};
o rrdtool plugin: rrd_update_r ({path}.rrd) failed: illegal attempt to update using time {n:1443000000-1447900000}
u:stor.collectd write_queue: There are {n:1000-60000} values waiting, plugin `{word}' is slow
@ nrpe fork linux
c Host {ip} is asking for command 'check_{word}' to be run...
u Error: Could not complete SSL handshake. {n:1-9}
o Host {ip} is not allowed to talk to us!
u:stor.nrpe Command check_{word} timed out after 60 seconds
@ puppet-agent fork linux
J1800 .3 Finished catalog run in {float} seconds
u (/Stage[main]/{word}/File[{path}]/content) content changed '{hex:32}' to '{hex:32}'
u Could not retrieve catalog from remote server: {execution expired|Connection refused - connect(2)|end of file reached}
>.9 1 Using cached catalog
u (/Stage[main]/{word}/Service[{unitname}]/ensure) ensure changed 'stopped' to 'running'
@ zabbix_agentd daemon linux
o active check configuration update from [{ip}:10051] started to fail (cannot connect to [[{ip#1}]:10051]: [4] Interrupted system call)
>.9 120 active check configuration update from [{ip}:10051] is working again
u failed to accept an incoming connection: from {ip} rejected, allowed hosts: "{ips}"
@ dhclient daemon linux
o DHCPREQUEST on br{n:0-6} to {ip} port 67
>.95 0.2 DHCPACK from {ip}
>>.98 0.1 bound to {ip} -- renewal in {n:300-43000} seconds.
u:peer.dhclient No DHCPOFFERS received.
>.6 3 No working leases in persistent database - sleeping.
r send_packet: Network is unreachable
@ ansible-command none linux
o Invoked with warn=True executable=None _uses_shell=False _raw_params={cmd} removes=None creates=None chdir=None
u ansible-apt|Invoked with dpkg_options=force-confdef,force-confold upgrade=None force=False package=['{unitname}'] purge=False state=present
@ rkhunter none deb
u Please inspect this machine, because it may be infected.
J86400 .3 Scan took {n:1-9} minutes and {n:1-59} seconds
@ logrotate none linux
u ALERT exited abnormally with [{n:1-9}]
r error: error creating output file {path}: File exists
@ fail2ban.actions none linux
o WARNING [ssh] Ban {ip}
>.95 600 WARNING [ssh] Unban {ip}
u INFO [ssh] {ip} already banned
@ unattended-upgrade none deb
J86400 .6 Initial blacklisted packages:
>.99 0.2 Starting unattended upgrades script
>.99 0.3 Allowed origins are: ['o=Debian,n=jessie', 'o=Debian,n=jessie,l=Debian-Security']
>>.9 6 No packages found that can be upgraded unattended and no pending auto-removals
r:upg.packages Packages that will be upgraded: {words}
r:upg.log Writing dpkg log to '{path}.log'
r:upg.done All upgrades installed
@ dpkg none deb
r:upg.start startup archives unpack
r:upg.upgrade upgrade {unitname}:amd64 {ver} {ver}
>.99 0.3 status half-configured {unitname}:amd64 {ver}
>.99 0.4 status unpacked {unitname}:amd64 {ver}
>.99 0.6 status half-installed {unitname}:amd64 {ver}
>.99 1.4 configure {unitname}:amd64 {ver} <none>
>>.99 0.4 status installed {unitname}:amd64 {ver}
r:upg.trig trigproc {unitname}:amd64 {ver} <none>
@ yum none rpm
r:upg.yumup Updated: {unitname}-{ver}.x86_64
r:upg.yumin Installed: {unitname}-{ver}.x86_64
v Erased: {unitname}
"""

VIRTUAL = r"""
@ libvirtd daemon kvm
o:vmrestart~office Domain id={n:1-900} name='{vm}' uuid={vmuuid} is tainted: high-privileges
u Domain id={n:1-900} name='{vm}' uuid={vmuuid} is tainted: host-cpu
o Unable to read from monitor: Connection reset by peer
>.7 0.5 internal error: early end of file from monitor: possible problem:
u:stor.job Cannot start job (modify, none) for domain {vm}; current job is (query, none) owned by ({n:300-32000} remoteDispatchDomainGetInfo, 0 <null>) for ({n:30-900}s, 0s)
u:peer.migrate operation failed: migration job: unexpectedly failed
o Stats are not supported for this domain
u invalid argument: no domain with matching uuid '{uuid}' ({vm})
c Domain not found: no domain with matching name '{vm}'
o this function is not supported by the connection driver: {virDomainGetCPUStats|virNodeGetMemoryStats|virConnectGetAllDomainStats}
r Failed to open file '{path}.img': No such file or directory
u:stor.open Failed to open file '{path}.qcow2': {Input/output error|Stale file handle|Permission denied}
u:stor.pool internal error: Child process (/bin/umount {path}) unexpected exit status 16: umount.nfs: {path}: device is busy
r missing storage backend for network files using iscsi protocol
r unsupported configuration: Domain requires KVM, but it is not available. Check that virtualization is enabled in the host BIOS, and host configuration is setup to load the kvm modules.
u Guest agent is not responding: QEMU guest agent is not connected
u:peer.agent Guest agent is not responding: Guest agent not available for now
u internal error: process exited while connecting to monitor: {words}
>.8 0.3 Failed to terminate process {n:300-32000} with SIGTERM: Device or resource busy
u Failed to allocate tap device: Device or resource busy
r authentication failed: Failed to verify client's certificate
o:peer.tls Cannot recv data: {Connection reset by peer|Connection timed out|Input/output error}
u Cannot write data: Broken pipe
@ virtlogd daemon kvm
r Unable to open file: {path}: No space left on device
r Truncating log file {path}
@ qemu-kvm fork kvm
u main-loop: WARNING: I/O thread spun for 1000 iterations
r warning: TSC frequency mismatch between VM ({n:2000000-3400000} kHz) and host ({n:2000000-3400000} kHz), and TSC scaling unavailable
u:stor.qflush virtio-blk: request timed out on drive-virtio-disk{n:0-5}
r migrate: load of migration failed: {Input/output error|Invalid argument}
u red_dispatcher_loadvm_commands:
@ dnsmasq daemon kvm
c query[{A|AAAA|PTR|TXT}] {domain} from {ip}
>.7 0.02 forwarded {domain} to {ip}
>>.95 0.1 reply {domain} is {ip}
>.25 0.02 cached {domain} is {ip}
u:peer.dnsmasq nameserver {ip} refused to do a recursive query
u using nameserver {ip}#53
o reading /etc/resolv.conf
>.9 0.05 using nameserver {ip}#53
r Maximum number of concurrent DNS queries reached (max: 150)
@ dnsmasq-dhcp daemon kvm
u DHCPRELEASE(virbr{n:0-3}) {ip} {mac}
u DHCPNAK(virbr{n:0-3}) {ip} {mac} wrong address
o abandoning lease to {mac} of {ip}
r no address range available for DHCP request via virbr{n:0-3}
@ ovs-vswitchd daemon kvm
u {n:10000-60000}|bridge|INFO|bridge br{n:0-6}: added interface vnet{n:0-60} on port {n:1-90}
u {n:10000-60000}|bridge|INFO|bridge br{n:0-6}: deleted interface vnet{n:0-60} on port {n:1-90}
c {n:10000-60000}|poll_loop|INFO|wakeup due to [POLLIN] on fd {n:8-60} (<->{path}.sock) at ../lib/stream-fd.c:{n:100-200} ({n:50-100}% CPU usage)
u {n:10000-60000}|ofproto_dpif_upcall|WARN|upcall_cb failure: ukey installation fails
o {n:10000-60000}|timeval|WARN|Unreasonably long {n:1000-60000}ms poll interval ({n:0-900}ms user, {n:0-900}ms system)
>.9 0.01 {n:10000-60000}|timeval|WARN|faults: {n:0-900} minor, {n:0-90} major
>.9 0.01 {n:10000-60000}|timeval|WARN|context switches: {n:0-900} voluntary, {n:0-900} involuntary
u:peer.ovs {n:10000-60000}|rconn|WARN|br{n:0-6}<->tcp:{ip}:6633: connection failed ({Connection timed out|No route to host})
u:peerup.ovs {n:10000-60000}|rconn|INFO|br{n:0-6}<->tcp:{ip}:6633: connected
u:link.ovs {n:10000-60000}|bond|INFO|interface eth{n:0-3}: link state down
u:linkup.ovs {n:10000-60000}|bond|INFO|interface eth{n:0-3}: link state up
@ corosync daemon kvm shared
u:peer.totem [TOTEM ] A processor failed, forming new configuration.
>.95 4 [TOTEM ] A new membership ({ip}:{n:1000-60000}) was formed. Members left: {n:1-9}
>>.9 0.3 [QUORUM] Members[{n:1-9}]: {n:1-9} {n:1-9} {n:1-9}
>>.9 0.4 [MAIN  ] Completed service synchronization, ready to provide service.
u:peerup.totem [TOTEM ] A new membership ({ip}:{n:1000-60000}) was formed. Members joined: {n:1-9}
>.9 0.3 [QUORUM] Members[{n:1-9}]: {n:1-9} {n:1-9} {n:1-9}
c [TOTEM ] Retransmit List: {hex:3} {hex:3} {hex:3}
u:link.totem [TOTEM ] The network interface is down.
u [MAIN  ] Corosync main process was not scheduled for {float} ms (threshold is {float} ms). Consider token timeout increase.
@ pacemakerd daemon kvm shared
u:peer.crm crm_update_peer_proc: Node {peer}[{n:1-9}] - state is now lost (was member)
u:peerup.crm crm_update_peer_proc: Node {peer}[{n:1-9}] - state is now member (was lost)
@ crmd daemon kvm shared
c State transition S_IDLE -> S_POLICY_ENGINE [ input=I_PE_CALC cause=C_TIMER_POPPED origin=crm_timer_popped ]
>.95 1 State transition S_TRANSITION_ENGINE -> S_IDLE [ input=I_TE_SUCCESS cause=C_FSA_INTERNAL origin=notify_crmd ]
u:peer.stonith Peer {peer} was not terminated ({reboot|off}) by {peer} for {peer}: No route to host (ref={uuid}) by client crmd.{n:300-32000}
u:stor.crm process_lrm_event: Operation {word}_monitor_{n:10000-60000}: {unknown error|not running|Timed Out} (node={peer}, call={n:1-900}, rc=1, cib-update={n:1-900}, confirmed=false)
@ qga none kvm
o info: guest-ping called for {vm}
u:stor.qga error: guest-fsfreeze-freeze for {vm} failed: Input/output error
@ virt-backup fork kvm
J86400:backup .5 starting backup of {n:2-30} domains to {path}
>.98 5 snapshot of {vm} created in {float} s
>>.98 400 committed {vm} disk {vda|vdb|vdc}: {n:100-60000} MiB in {n:5-900} s
>>.05 200 snapshot of {vm} failed: {words}
>.95 1500 finished: {n:2-30} ok, {n:0-2} failed, {n:1000-60000} MiB
@ kernel none kvm
o br{n:0-6}: topology change detected, propagating
o br{n:0-6}: neighbor {hex:4}.{mac} lost on port {n:1-30}(eth{n:0-3})
u:peer.bridge br{n:0-6}: topology change detected, sending tcn bpdu
u {vm}: page allocation failure: order:{n:0-5}, mode:0x{hex:5}
>.9 0.1 Mem-Info:
>.9 0.1 active_anon:{n:1000-60000} inactive_anon:{n:1000-60000} isolated_anon:{n:0-90}
r Out of memory: Kill process {n:300-32000} (qemu-kvm) score {n:100-999} or sacrifice child
>.99 0.01 Killed process {n:300-32000} (qemu-kvm) total-vm:{n:1000000-9000000}kB, anon-rss:{n:1000000-9000000}kB, file-rss:{n:0-900}kB
>.8 1 libvirtd[d]|internal error: End of file from monitor
u TCP: request_sock_TCP: Possible SYN flooding on port {port}. Sending cookies.  Check SNMP counters.
o nf_conntrack: table full, dropping packet
u net_ratelimit: {n:1-900} callbacks suppressed
o kvm: SMP vm created on host with unstable TSC; guest TSC will not be reliable
r EDAC MC{n:0-3}: {n:1-20} CE memory read error on CPU_SrcID#{n:0-1}_Ha#0_Chan#{n:0-3}_DIMM#{n:0-2} (channel:{n:0-3} slot:{n:0-2} page:0x{hex:6} offset:0x{hex:3} grain:32 syndrome:0x0)
u CPU{n:0-31}: Core temperature above threshold, cpu clock throttled (total events = {n:1-60000})
>.95 1 CPU{n:0-31}: Core temperature/speed normal
u CPU{n:0-31}: Package temperature above threshold, cpu clock throttled (total events = {n:1-60000})
r qemu-kvm[{n:300-32000}]: segfault at {hex:12} ip {hex:16} sp {hex:16} error {n:4-7} in qemu-kvm[{hex:12}+{hex:6}]
v general protection fault: 0000 [#1] SMP
r mce: [Hardware Error]: Machine check events logged
u ata{n:1-6}.00: exception Emask 0x0 SAct 0x{hex:8} SErr 0x0 action 0x6 frozen
>.95 0.01 ata{n:1-6}.00: failed command: {READ FPDMA QUEUED|WRITE FPDMA QUEUED|FLUSH CACHE EXT}
>.95 0.02 ata{n:1-6}.00: status: DRDY
>.95 0.03 ata{n:1-6}: hard resetting link
>>.95 3 ata{n:1-6}: SATA link up {float} Gbps (SStatus {n:100-140} SControl 300)
>>>.9 0.2 ata{n:1-6}.00: configured for UDMA/{n:66-133}
>>>>.9 0.05 ata{n:1-6}: EH complete
u EXT4-fs (dm-{n:0-9}): error count: {n:1-90}
>.95 0.01 EXT4-fs (dm-{n:0-9}): initial error at {n:1443000000-1447900000}: ext4_find_entry:{n:900-1400}: inode {n:100000-9000000}
>.95 0.02 EXT4-fs (dm-{n:0-9}): last error at {n:1443000000-1447900000}: ext4_reserve_inode_write:{n:4000-5000}
u:stor.ext4 EXT4-fs warning (device dm-{n:0-9}): ext4_end_bio:{n:300-340}: I/O error -5 writing to inode {n:100000-9000000} (offset {n:0-60000} size {n:0-60000} starting block {n:100000-9000000})
r:stor.jbd Aborting journal on device dm-{n:0-9}-8.
u:stor.buf Buffer I/O error on device dm-{n:0-9}, logical block {n:100000-9000000}
>.8 0.05 lost page write due to I/O error on dm-{n:0-9}
u:stor.endreq end_request: I/O error, dev sd{letters}, sector {n:100000-90000000}
r:stor.mpath device-mapper: multipath: Failing path {n:8-65}:{n:0-240}.
u:storup.ext4 EXT4-fs (dm-{n:0-9}): recovery complete
o EXT4-fs (dm-{n:0-9}): mounted filesystem with ordered data mode. Opts: {words}
u usb {n:1-4}-{n:1-9}: new high-speed USB device number {n:1-60} using ehci-pci
>.9 0.1 usb {n:1-4}-{n:1-9}: New USB device found, idVendor={hex:4}, idProduct={hex:4}
>>.9 0.05 usb {n:1-4}-{n:1-9}: New USB device strings: Mfr={n:0-3}, Product={n:0-3}, SerialNumber={n:0-3}
>>>.6 60 usb {n:1-4}-{n:1-9}: USB disconnect, device number {n:1-60}
u device eth{n:0-3} entered promiscuous mode
>.9 120 device eth{n:0-3} left promiscuous mode
o tun: Universal TUN/TAP device driver, 1.6
u FS-Cache: Duplicate cookie detected
c type=1400 audit({n:1443000000-1447900000}.{n:100-999}:{n:1-60000}): apparmor="{DENIED|ALLOWED|STATUS}" operation="{open|mknod|profile_replace|exec}" profile="libvirt-{uuid}" name="{path}" pid={n:300-32000} comm="qemu-kvm"
"""

DISKS = r"""
@ kernel none kvm iscsi
u:stor.iscsiabort  connection{n:1-8}:0: detected conn error (1021)
u:stor.iscsito sd {n:0-9}:0:0:{n:0-15}: timing out command, waited {n:30-180}s
>.5 0.2 sd {n:0-9}:0:0:{n:0-15}: rejecting I/O to offline device
u iscsi: host reset succeeded
r session{n:1-8}: session recovery timed out after {n:5-120} secs
@ iscsid daemon kvm iscsi
u:stor.iscsinop Nop-out timedout after {n:5-15} seconds on connection {n:1-8}:0 state (3). Dropping session.
u:stor.iscsire connect to {ip}:3260 failed ({No route to host|Connection refused|Connection timed out})
u:storup.iscsid connection{n:1-8}:0 is operational after recovery ({n:1-30} attempts)
r Connection{n:1-8}:0 to [target: {iqn}, portal: {ip},3260] through [iface: default] is operational now
@ kernel none kvm nfs
u:stor.nfs4 NFS: nfs4_reclaim_open_state: Lock reclaim failed!
u:stor.nfsto nfs: server {peer} not responding, timed out
u:stor.rpc RPC: AUTH_GSS upcall timed out.
r lockd: server {peer} not responding, still trying
>.9 30 lockd: server {peer} OK
u svc: failed to register nfsdv3 RPC service (errno {n:1-120}).
r NFS: state manager: check lease failed on NFSv4 server {peer} with error {n:5-121}
@ rpc.statd daemon kvm nfs
u Failed to read file {path}: No such file or directory
r:peer.statd Can't notify {peer}, giving up
r Received erroneous SM_UNMON request from {host} for {ip}
@ rpc.mountd daemon linux nfs
o authenticated mount request from {ip}:{n:600-1023} for {path} ({path})
u authenticated unmount request from {ip}:{n:600-1023} for {path} ({path})
r refused mount request from {ip} for {path} ({path}): unmatched host
@ automount daemon linux nfs
u attempting to mount entry {path}
>.9 1 mounted {path}
>>.9 600 expired {path}
u:stor.auto mount(nfs): nfs: mount failure {peer}:{path} on {path}
@ kernel none kvm fc
u:stor.fc qla2xxx [0000:{hex:2}:00.{n:0-1}]-801c:{n:0-9}: Abort command issued nexus={n:0-9}:{n:0-9}:{n:0-20} --  {n:1-9} {hex:4}.
u:stor.fcloop qla2xxx [0000:{hex:2}:00.{n:0-1}]-500b:{n:0-9}: LOOP DOWN detected ({hex:1} {hex:1} {hex:1} {hex:1}).
u:storup.fc qla2xxx [0000:{hex:2}:00.{n:0-1}]-500a:{n:0-9}: LOOP UP detected ({n:4-16} Gbps).
u:stor.rport  rport-{n:0-9}:0-{n:0-20}: blocked FC remote port time out: removing target and saving binding
o qla2xxx [0000:{hex:2}:00.{n:0-1}]-107ff:{n:0-9}: qla2xxx_eh_device_reset: reset succeeded.
u lpfc 0000:{hex:2}:00.{n:0-1}: {n:0-1}:(0):0203 Devloss timeout on WWPN {hex:16} NPort x{hex:6} Data: x{hex:1} x{hex:1} x{hex:1}
@ multipathd daemon kvm shared
u {wwid}: load table [0 {n:100000-9000000} multipath 1 queue_if_no_path 0 1 1 service-time 0 {n:1-4} 1]
u:stor.fail {wwid}: Entering recovery mode: max_retries={n:1-60}
u:storup.fail {wwid}: Recovered to normal mode
o sd{letters}: add path (uevent)
>.9 0.2 sd{letters}: mark as failed
o {wwid}: sd{letters} - tur checker reports path is down
>.9 0.05 checker failed path {n:8-65}:{n:0-240} in map {wwid}
r dm-{n:0-9}: remove map (uevent)
r dm-{n:0-9}: devmap not registered, can't remove
@ sanlock daemon kvm shared
u:stor.sanlock {n:10000-9000000} [{n:300-32000}]: s{n:1-9} delta_renew read timeout {n:10-20} sec offset 0 {path}
>.7 1 {n:10000-9000000} [{n:300-32000}]: s{n:1-9} renewal error -202 delta_length {n:10-20} last_success {n:10000-9000000}
r {n:10000-9000000} [{n:300-32000}]: s{n:1-9} check_our_lease warning {n:60-80} last_success {n:10000-9000000}
@ lvm fork kvm shared
u Monitoring RAID device {word}-{word} for events.
r WARNING: Device for PV {hex:32} not found or rejected by a filter.
u Snapshot {word}-{word} is now {n:80-99}% full.
@ kernel none kvm local
o megaraid_sas 0000:{hex:2}:00.0: {n:10-90000} ({n:400000000-600000000}s/0x{hex:4}/WARN) - Patrol Read corrected medium error: PD {hex:2}(e0x{hex:2}/s{n:0-12}) at {hex:8}
u:stor.mega megaraid_sas 0000:{hex:2}:00.0: [{n:5-175}]waiting for {n:1-900} commands to complete
u sd {n:0-9}:0:0:{n:0-15}: [sd{letters}] Sense Key : {Medium Error|Recovered Error|Hardware Error} [current]
>.9 0.02 sd {n:0-9}:0:0:{n:0-15}: [sd{letters}] Add. Sense: {Unrecovered read error|Record not found}
r md/raid1:md{n:0-5}: read error corrected (8 sectors at {n:100000-9000000} on sd{letter})
r raid1: Disk failure on sd{letter}, disabling device.
@ smbd fork linux nfs
u [{date}, 0] ../source3/lib/util_sock.c:{n:300-1200}(matchname)
>.99 0.02   matchname: host name/address mismatch: {ip} != {domain}
"""

NETS = r"""
@ kernel none linux igb
r:link.igb igb 0000:{hex:2}:00.{n:0-3} eth{n:0-3}: igb: eth{n:0-3} NIC Link is Down
r:linkup.igb igb 0000:{hex:2}:00.{n:0-3} eth{n:0-3}: igb: eth{n:0-3} NIC Link is Up {100|1000} Mbps Full Duplex, Flow Control: {None|RX|RX/TX}
r igb 0000:{hex:2}:00.{n:0-3}: Detected Tx Unit Hang
>.9 2 igb 0000:{hex:2}:00.{n:0-3}: Reset adapter
@ kernel none linux e1000e
r:link.e1000e e1000e: eth{n:0-3} NIC Link is Down
r:linkup.e1000e e1000e: eth{n:0-3} NIC Link is Up {100|1000} Mbps {Full|Half} Duplex, Flow Control: {None|Rx/Tx}
r e1000e 0000:{hex:2}:00.{n:0-3} eth{n:0-3}: Detected Hardware Unit Hang:
@ kernel none linux ixgbe
r:link.ixgbe ixgbe 0000:{hex:2}:00.{n:0-1} eth{n:0-3}: NIC Link is Down
r:linkup.ixgbe ixgbe 0000:{hex:2}:00.{n:0-1} eth{n:0-3}: NIC Link is Up 10 Gbps, Flow Control: {None|RX/TX}
u ixgbe 0000:{hex:2}:00.{n:0-1} eth{n:0-3}: initiating reset due to tx timeout
>.9 0.2 ixgbe 0000:{hex:2}:00.{n:0-1} eth{n:0-3}: Reset adapter
@ kernel none linux bnx2
r:link.bnx2 bnx2 0000:{hex:2}:00.{n:0-1} eth{n:0-3}: NIC Copper Link is Down
r:linkup.bnx2 bnx2 0000:{hex:2}:00.{n:0-1} eth{n:0-3}: NIC Copper Link is Up, {100|1000} Mbps full duplex, receive & transmit flow control ON
@ kernel none linux tg3
r:link.tg3 tg3 0000:{hex:2}:00.{n:0-1} eth{n:0-3}: Link is down
r:linkup.tg3 tg3 0000:{hex:2}:00.{n:0-1} eth{n:0-3}: Link is up at {100|1000} Mbps, full duplex
>.9 0.01 tg3 0000:{hex:2}:00.{n:0-1} eth{n:0-3}: Flow control is {on|off} for TX and {on|off} for RX
@ kernel none linux bond
u:link.bond bond{n:0-1}: link status definitely down for interface eth{n:0-3}, disabling it
>.6 0.05 bond{n:0-1}: making interface eth{n:0-3} the new active one
u:linkup.bond bond{n:0-1}: link status definitely up for interface eth{n:0-3}, {100|1000|10000} Mbps full duplex
r:link.bondall bond{n:0-1}: now running without any active interface!
r bond{n:0-1}: Warning: No 802.3ad response from the link partner for any adapters in the bond
u bond{n:0-1}: link status up again after {n:0-900} ms for interface eth{n:0-3}
@ kernel none linux
u:link.bridge br{n:0-6}: port {n:1-30}(eth{n:0-3}) entered disabled state
u:linkup.bridge br{n:0-6}: port {n:1-30}(eth{n:0-3}) entered forwarding state
u:linkup.ready IPv6: ADDRCONF(NETDEV_CHANGE): eth{n:0-3}: link becomes ready
u IPv6: ADDRCONF(NETDEV_UP): eth{n:0-3}: link is not ready
f [UFW BLOCK] IN=eth{n:0-3} OUT= MAC={mac}:{mac}:08:00 SRC={ip} DST={ip} LEN={n:40-1500} TOS=0x00 PREC=0x00 TTL={n:30-128} ID={n:0-65535} PROTO={TCP|UDP|ICMP} SPT={port} DPT={n:1-65535}
o icmpv6_send: no reply to icmp error
c ICMPv6: RA: ndisc_router_discovery failed to add default route
u IPv6: eth{n:0-3}: IPv6 duplicate address {ip6} detected!
o neighbour: ndisc_cache: neighbor table overflow!
c TCP: Peer {ip}:{port}/{port} unexpectedly shrunk window {n:100000-9000000}:{n:100000-9000000} (repaired)
r eth{n:0-3}: hw csum failure
@ avahi-daemon daemon linux
o Registering new address record for {ip6} on vnet{n:0-60}.*.
o Withdrawing address record for {ip6} on vnet{n:0-60}.
u Invalid response packet from host {ip}.
c Received response from host {ip} with invalid source port {port} on interface 'br{n:0-6}.{n:0-6}'
u:link.avahi Interface eth{n:0-3}.IPv4 no longer relevant for mDNS.
u:linkup.avahi New relevant interface eth{n:0-3}.IPv4 for mDNS.
@ lldpd daemon linux
u:link.lldp port eth{n:0-3} is down, removing neighbor {hex:12}
u:linkup.lldp new neighbor on port eth{n:0-3}
r unable to send packet on real device for eth{n:0-3}: Network is down
@ ifplugd(eth0) daemon linux
r:link.plug Link beat lost.
r:linkup.plug Link beat detected.
r Executing '{path} eth0 {up|down}'.
>.95 1 Program executed successfully.
@ bird daemon box
c Netlink: Received unexpected message type {n:1-90}
u:peer.bgp {word}{n:1-9}: Error: Hold timer expired
>.9 5 {word}{n:1-9}: Connecting to {ip} from local address {ip}
u:peer.bgpdown {word}{n:1-9}: State changed to down
u:peerup.bgp {word}{n:1-9}: BGP session established
>.95 0.2 {word}{n:1-9}: State changed to up
o {word}{n:1-9}: Received: {Administrative reset|Hold timer expired|Cease}
u Kernel dropped some netlink messages, will resync on next scan.
@ ospf6d daemon box
u:peer.ospf nsm_change_state: {ip}%br{n:0-6}: Full -> {Down|Init} ({InactivityTimer|1-WayReceived})
u:peerup.ospf nsm_change_state: {ip}%br{n:0-6}: Loading -> Full (LoadingDone)
c RECV[br{n:0-6}]: mismatched MTU from {ip6}: {n:1280-9000}
@ named daemon dns
f client {ip}#{port}: query (cache) '{domain}/{A|AAAA|ANY|MX|PTR}/IN' denied
f client {ip6}#{port}: view world: query (cache) '{domain}/{A|AAAA|ANY|MX|PTR}/IN' denied
c client {ip}#{port}: query '{domain}/{ANY|TXT}/IN' denied
o client {ip}#{port}: view world: notify question section contains no SOA
o client {ip}#{port}: view internal: bad zone transfer request: '{domain}/IN': non-authoritative zone (NOTAUTH)
c success resolving '{domain}/{A|AAAA}' (in '{domain}'?) after reducing the advertised EDNS UDP packet size to {n:512-1232} octets
c success resolving '{domain}/{A|AAAA}' (in '{domain}'?) after disabling EDNS
o DNS format error from {ip}#53 resolving {domain}/{A|AAAA|NS} for client {ip}#{port}: {invalid response|Name example (SOA) not subdomain of zone example -- invalid response|unrelated A example in example authority section}
c validating @0x{hex:12}: {domain} {A|AAAA|SOA|DS}: got insecure response; parent indicates it should be secure
>.6 0.1 error (insecurity proof failed) resolving '{domain}/{A|AAAA|SOA|DS}/IN': {ip}#53
u validating @0x{hex:12}: {domain} {A|NSEC3|DNSKEY}: no valid signature found
o zone {domain}/IN: refresh: failure trying master {ip}#53 (source 0.0.0.0#0): operation canceled
u:peer.zone zone {domain}/IN: refresh: retry limit for master {ip}#53 exceeded (source 0.0.0.0#0)
c zone {domain}/IN: notify from {ip}#{port}: zone is up to date
o zone {domain}/IN: Transfer started.
>.98 0.3 transfer of '{domain}/IN' from {ip}#53: connected using {ip}#{port}
>>.97 0.5 zone {domain}/IN: transferred serial {n:2015092601-2015111699}
>>>.97 0.1 transfer of '{domain}/IN' from {ip}#53: Transfer completed: {n:1-30} messages, {n:5-9000} records, {n:300-60000} bytes, {float} secs ({n:1000-60000} bytes/sec)
>>>.9 0.2 zone {domain}/IN: sending notifies (serial {n:2015092601-2015111699})
r:peer.xfr transfer of '{domain}/IN' from {ip}#53: failed to connect: {timed out|host unreachable|connection refused}
u clients-per-query increased to {n:15-90}
>.7 1200 clients-per-query decreased to {n:10-89}
o too many timeouts resolving '{domain}/{A|AAAA}' (in '{domain}'?): disabling EDNS
f:peer.timeouts too many timeouts resolving '{domain}/{A|AAAA}' (in '{domain}'?): reducing the advertised EDNS UDP packet size to 512 octets
u dispatch 0x{hex:12}: open_socket({ip6}#{port}) -> permission denied: continuing
r managed-keys-zone: Unable to fetch DNSKEY set '.': {timed out|failure}
o received control channel command '{stats|reload|flush}'
>.9 0.1 loading configuration from '{path}'
>>.9 0.8 reloading configuration succeeded
r no more TCP clients: quota reached
@ dhcpd none dhcp
f DHCPREQUEST for {ip} from {mac} via br{n:0-6}
>.97 0.01 DHCPACK on {ip} to {mac} via br{n:0-6}
c DHCPREQUEST for {ip} from {mac} ({vm}) via br{n:0-6}
>.97 0.01 DHCPACK on {ip} to {mac} ({vm}) via br{n:0-6}
c:dhcp DHCPDISCOVER from {mac} via br{n:0-6}
>.9 1 DHCPOFFER on {ip} to {mac} via br{n:0-6}
>.1 0.2 DHCPDISCOVER from {mac} via br{n:0-6}: network {ip}/24: no free leases
c DHCPINFORM from {ip} via br{n:0-6}
>.9 0.01 DHCPACK to {ip} ({mac}) via br{n:0-6}
u DHCPDECLINE of {ip} from {mac} via br{n:0-6}: abandoned
u uid lease {ip} for client {mac} is duplicate on {ip}/24
u Wrote {n:1-9000} leases to leases file.
o:peer.failover failover peer {word}: I move from normal to communications-interrupted
>.9 30 failover peer {word}: I move from communications-interrupted to normal
u DHCPNAK on {ip} to {mac} via br{n:0-6}
r Dynamic and static leases present for {ip}.
@ radvd daemon box
c our AdvManagedFlag on br{n:0-6} doesn't agree with {ip6}
o our AdvDefaultLifetime on br{n:0-6} doesn't agree with {ip6}
r sendmsg: {Network is down|No such device|Cannot assign requested address}
@ tayga daemon nat64
c Dynamic pool: assigning {ip} to {ip6}
>.8 900 Dynamic pool: freeing {ip}, was mapped to {ip6}
o No address available in dynamic pool for {ip6}
u Flushed {n:1-900} expired mappings
@ totd daemon nat64
o udp read error: {Connection refused|No route to host} from {ip6}
u forwarded query for {domain} got no answer from {ip}
@ nfcapd daemon box
C Process_v9: Found options flowset: template {n:256-290}
o Process_v9: Sequence error: last seq: {n:100000-9000000}, seq {n:100000-9000000} dist {n:1-900}
c Ident: '{word}' Flows: {n:10-60000}, Packets: {n:1000-60000}, Bytes: {n:100000-9000000}, Sequence Errors: {n:0-9}, Bad Packets: 0
J300 1 Ident: 'none' Flows: {n:10-60000}, Packets: {n:1000-60000}, Bytes: {n:100000-90000000}, Sequence Errors: {n:0-9}, Bad Packets: {n:0-3}
u Total ignored packets: {n:0-900}
@ keepalived_vrrp daemon box
u:peer.vrrp VRRP_Instance(VI_{n:1-9}) Transition to MASTER STATE
>.98 1 VRRP_Instance(VI_{n:1-9}) Entering MASTER STATE
>>.98 0.1 VRRP_Instance(VI_{n:1-9}) Sending gratuitous ARPs on br{n:0-6} for {ip}
u:peerup.vrrp VRRP_Instance(VI_{n:1-9}) Received higher prio advert
>.98 0.1 VRRP_Instance(VI_{n:1-9}) Entering BACKUP STATE
r bogus VRRP packet received on br{n:0-6} !!!
@ sshd fork linux
o error: Received disconnect from {ip}: 3: java.net.SocketTimeoutException: Accept timed out [preauth]
u error: maximum authentication attempts exceeded for {login} from {ip} port {port} ssh2 [preauth]
u Disconnecting: Too many authentication failures for {login} [preauth]
u error: Could not load host key: /etc/ssh/ssh_host_ed25519_key
u fatal: no matching {cipher|mac|key exchange method} found: client {words} server {words} [preauth]
o subsystem request for sftp by user {user}
u User {user} from {ip} not allowed because not listed in AllowUsers
>.8 1 Failed none for invalid user {user} from {ip} port {port} ssh2
r Server listening on {ip} port 22.
r Received signal 15; terminating.
o Set {path} mode to 0600
u Connection reset by {ip} [preauth]
u PAM {n:1-5} more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost={ip}  user={login}
o pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={ip}  user={user}
u pam_unix(sshd:auth): check pass; user unknown
@ xinetd daemon linux
o START: nrpe pid={n:300-32000} from={ip}
>.99 1 EXIT: nrpe status=0 pid={n:300-32000} duration={n:0-9}(sec)
u FAIL: nrpe address from={ip}
"""

ESX = r"""
@ Hostd none esx
b info hostd[{hex:8}] [Originator@6876 sub=Vimsvc.TaskManager opID={hex:8}-{hex:2} user={user}] Task Created : haTask-{n:1-900}-vim.VirtualMachine.{powerOn|powerOff|reconfigure}-{n:1000-9000000}
>.95 3 info hostd[{hex:8}] [Originator@6876 sub=Vimsvc.TaskManager opID={hex:8}-{hex:2} user={user}] Task Completed : haTask-{n:1-900}-vim.VirtualMachine.{powerOn|powerOff|reconfigure}-{n:1000-9000000} Status {success|error}
f verbose hostd[{hex:8}] [Originator@6876 sub=PropertyProvider opID={hex:8}] RecordOp ASSIGN: guest.disk, {n:1-900}. Sent notification immediately.
o info hostd[{hex:8}] [Originator@6876 sub=Vimsvc.ha-eventmgr] Event {n:1-60000} : User {user}@{ip} logged in as {words}
>.95 300 info hostd[{hex:8}] [Originator@6876 sub=Vimsvc.ha-eventmgr] Event {n:1-60000} : User {user}@{ip} logged out (login time: {date}, number of API invocations: {n:0-900}, user agent: {words})
u warning hostd[{hex:8}] [Originator@6876 sub=Statssvc] Calculated write I/O size {n:100000-9000000} for scsi0:{n:0-9} is out of range -- {n:100000-9000000},prevBytes = {n:100000-9000000}
u:stor.hostd error hostd[{hex:8}] [Originator@6876 sub=Hostsvc.FSVolumeProvider] RefreshVMFSVolumes failed: {word}
u:peer.hostd warning hostd[{hex:8}] [Originator@6876 sub=Vmomi] Connection to vCenter {ip} timed out after {n:30-120} seconds
@ vmkernel none esx
c cpu{n:0-31}:{n:30000-60000})ScsiDeviceIO: {n:2000-3000}: Cmd(0x{hex:12}) 0x{hex:2}, CmdSN 0x{hex:4} from world {n:30000-60000} to dev "naa.{hex:32}" failed H:0x{hex:1} D:0x{hex:1} P:0x{hex:1} Valid sense data: 0x{hex:1} 0x{hex:2} 0x{hex:1}.
u:stor.apd cpu{n:0-31}:{n:30000-60000})StorageApdHandler: {n:200-900}: APD Timer started for ident [naa.{hex:32}]
u:storup.apd cpu{n:0-31}:{n:30000-60000})StorageApdHandler: {n:200-900}: APD Timer killed for ident [naa.{hex:32}]
u:stor.nmp cpu{n:0-31}:{n:30000-60000})WARNING: NMP: nmp_DeviceRequestFastDeviceProbe:{n:200-300}: NMP device "naa.{hex:32}" state in doubt; requested fast path state update...
u:stor.lat cpu{n:0-31}:{n:30000-60000})WARNING: ScsiDeviceIO: {n:1000-2000}: Device naa.{hex:32} performance has deteriorated. I/O latency increased from average value of {n:500-9000} microseconds to {n:10000-60000} microseconds.
>.5 90 cpu{n:0-31}:{n:30000-60000})ScsiDeviceIO: {n:1000-2000}: Device naa.{hex:32} performance has improved. I/O latency reduced from {n:10000-60000} microseconds to {n:500-9000} microseconds.
o cpu{n:0-31}:{n:30000-60000})NetPort: {n:1000-2000}: enabled port 0x{hex:7} with mac {mac}
o cpu{n:0-31}:{n:30000-60000})NetPort: {n:1000-2000}: disabled port 0x{hex:7}
u:link.esx cpu{n:0-31}:{n:30000-60000})<6>ixgbe: vmnic{n:0-5} NIC Link is Down
u:linkup.esx cpu{n:0-31}:{n:30000-60000})<6>ixgbe: vmnic{n:0-5} NIC Link is Up 10 Gbps
r cpu{n:0-31}:{n:30000-60000})ALERT: hostd detected to be non-responsive
c cpu{n:0-31}:{n:30000-60000})HBX: {n:200-3000}: HB at offset {n:3000000-4000000} - Reclaimed heartbeat [Timeout]
u:stor.hbx cpu{n:0-31}:{n:30000-60000})HBX: {n:200-3000}: Waiting for timed out [HB state {hex:8} offset {n:3000000-4000000} gen {n:1-900} stampUS {n:100000-9000000} uuid {uuid} jrnl <FB {n:1000-9000}> drv 14.60]
o cpu{n:0-31}:{n:30000-60000})Vol3: {n:600-900}: Couldn't read volume header from control: Not supported
@ vobd none esx
u:link.vob [netCorrelator] {n:100000-9000000}us: [vob.net.vmnic.linkstate.down] vmnic vmnic{n:0-5} linkstate down
u:linkup.vob [netCorrelator] {n:100000-9000000}us: [vob.net.vmnic.linkstate.up] vmnic vmnic{n:0-5} linkstate up
u:stor.vob [scsiCorrelator] {n:100000-9000000}us: [vob.scsi.scsipath.pathstate.dead] scsiPath vmhba{n:0-40}:C0:T{n:0-9}:L{n:0-20} changed state from on
u:storup.vob [scsiCorrelator] {n:100000-9000000}us: [vob.scsi.scsipath.pathstate.on] scsiPath vmhba{n:0-40}:C0:T{n:0-9}:L{n:0-20} changed state from dead
@ Fdm none esx
c info fdm[{hex:8}] [Originator@6876 sub=Cluster opID=SWI-{hex:7}] hostId={n:10-90} state=Slave master={n:10-90} isolated=false host-list-version={n:1-900}
u:peer.fdm warning fdm[{hex:8}] [Originator@6876 sub=Cluster opID=SWI-{hex:7}] [ClusterManagerImpl::CheckElectionState] Lost connection to master, host-{n:10-90}
u:peerup.fdm info fdm[{hex:8}] [Originator@6876 sub=Election opID=SWI-{hex:7}] [ClusterElection::ChangeState] {Master|Slave|Candidate} => {Master|Slave|Startup} : Lost election
@ Rhttpproxy none esx
f verbose rhttpproxy[{hex:8}] [Originator@6876 sub=Proxy Req {n:10000-60000}] New proxy client <SSL(<io_obj p:0x{hex:12}, h:{n:5-60}, <TCP '{ip}:443'>, <TCP '{ip}:{port}'>>)>
o warning rhttpproxy[{hex:8}] [Originator@6876 sub=Default] SSL Handshake timed out for stream <io_obj p:0x{hex:12}>
@ ntpd daemon esx
o:peer.ntpesx no servers reachable
c synchronized to {ip}, stratum {n:1-4}
@ crond daemon esx
J300 .5 USER root pid {n:30000-60000} cmd {cmd}
@ sfcbd fork esx
u Error reading {path}: Bad file descriptor
o getProviderContext: provider process {n:30000-60000} exited
@ VMware[startup] none esx
B2 Starting service {word}
B3 System Booting
@ vmkernel none esx
B0 cpu0:{n:30000-60000})BootConfig: {n:100-900}: coresPerPkg = {n:4-16}
B0.3 cpu0:{n:30000-60000})Timer: {n:100-900}: TSC calibration: {n:2000000-3400000} kHz
B0.9/v cpu{n:0-31}:{n:30000-60000})Loading module {word} ...
B1.2/v cpu{n:0-31}:{n:30000-60000})Mod: {n:4000-5000}: Initialization of {word} succeeded with module ID {n:1-200}.
B4 cpu{n:0-31}:{n:30000-60000})VMKAPICore: {n:1000-5000}: vmkernel booted
B5/r cpu{n:0-31}:{n:30000-60000})ScsiScan: {n:800-1800}: Path 'vmhba{n:0-40}:C0:T{n:0-9}:L{n:0-20}': Vendor: '{word}' Model: '{word}' Rev: '{hex:4}'
B6/r cpu{n:0-31}:{n:30000-60000})LVM: {n:8000-14000}: One or more LVM devices have been discovered.
S6 cpu{n:0-31}:{n:30000-60000})Unloading module {word}
@ Hostd none esx
B12 info hostd[{hex:8}] [Originator@6876 sub=Default] Initialized channel manager
B14 info hostd[{hex:8}] [Originator@6876 sub=Default] BEGIN SERVICES
S0 info hostd[{hex:8}] [Originator@6876 sub=Hostsvc] Host shutdown requested by {user}: {words}
S3 info hostd[{hex:8}] [Originator@6876 sub=Default] END SERVICES
@ shutdown none esx
S8 Host is {halting|rebooting}
"""

BOOTS = r"""
@ kernel none linux
B0.1 Initializing cgroup subsys cpu
B0.1 Initializing cgroup subsys cpuacct
B0.3 KERNEL supported cpus:
B0.3 e820: BIOS-provided physical RAM map:
B0.4 BIOS-e820: [mem 0x{hex:16}-0x{hex:16}] {usable|reserved|ACPI data|ACPI NVS}
B0.4 DMI: {words} BIOS {ver} {date}
B0.5 x86 PAT enabled: cpu 0, old 0x{hex:13}, new 0x{hex:13}
B0.5 ACPI: RSDP {hex:16} {hex:5} (v02 {word})
B0.6 ACPI: LAPIC (acpi_id[0x{hex:2}] lapic_id[0x{hex:2}] enabled)
B0.6 SRAT: PXM {n:0-1} -> APIC 0x{hex:2} -> Node {n:0-1}
B0.7 Kernel command line: BOOT_IMAGE=/boot/vmlinuz-{ver} root={path} ro quiet
B0.8 Booting Node {n:0-1}, Processors #{n:1-31} OK
B0.8 Brought up {n:4-32} CPUs
B0.8 Total of {n:4-32} processors activated ({float} BogoMIPS).
B0.9 NET: Registered protocol family {n:1-40}
B1 PCI: Using configuration type 1 for base access
B1 pci 0000:{hex:2}:{hex:2}.{n:0-7}: [{hex:4}:{hex:4}] type 00 class 0x{hex:6}
B1 pci 0000:{hex:2}:{hex:2}.{n:0-7}: reg 10: [mem 0x{hex:8}-0x{hex:8}]
B1.1 ACPI: PCI Interrupt Link [LNK{A|B|C|D}] (IRQs {n:3-15}) current {n:3-15}
B1.2/v Switching to clocksource {tsc|hpet}
B1.3 TCP established hash table entries: {n:1000-60000} (order: {n:5-12}, {n:1000-9000000} bytes)
B1.4 Trying to unpack rootfs image as initramfs...
B1.6 Serial: 8250/16550 driver, {n:4-32} ports, IRQ sharing enabled
B1.8 Freeing unused kernel memory: {n:500-3000}k freed
B2/v scsi{n:0-9} : {words}
B2.2/r scsi {n:0-9}:0:{n:0-15}:0: Direct-Access     {word}   {word}  {hex:4} PQ: 0 ANSI: {n:4-6}
B2.3/r sd {n:0-9}:0:{n:0-15}:0: [sd{letters}] {n:1000000-9000000} 512-byte logical blocks
B2.4/r sd {n:0-9}:0:{n:0-15}:0: [sd{letters}] Attached SCSI disk
B2.6/r sd {n:0-9}:0:{n:0-15}:0: Attached scsi generic sg{n:0-20} type 0
B3/v device-mapper: uevent: version 1.0.3
B3.1/v device-mapper: ioctl: 4.22.0-ioctl ({date}) initialised: dm-devel@redhat.com
B3.6:boot.uncleanroot EXT4-fs (dm-{n:0-9}): INFO: recovery required on readonly filesystem
B3.7:boot.uncleanwrite EXT4-fs (dm-{n:0-9}): write access will be enabled during recovery
B3.9/v:boot.uncleanorphan EXT4-fs (dm-{n:0-9}): orphan cleanup on readonly fs
B4.1/v:boot.uncleancount EXT4-fs (dm-{n:0-9}): {n:1-30} orphan inodes deleted
B5 EXT4-fs (dm-{n:0-9}): re-mounted. Opts: errors=remount-ro
B5.5 Bridge firewalling registered
B5.6/u ip_tables: (C) 2000-2006 Netfilter Core Team
B5.7/r nf_conntrack version 0.5.0 ({n:10000-65000} buckets, {n:60000-900000} max)
B6/r 8021q: 802.1Q VLAN Support v1.8
B6.2/r IPv6: ADDRCONF(NETDEV_UP): br{n:0-6}: link is not ready
B7/v bonding: MII link monitoring set to {n:50-200} ms
B7.5 [Firmware Bug]: the BIOS has corrupted hw-PMU resources (MSR {hex:3} is {hex:3})
B8/r ipmi message handler version 39.2
B8.1/r IPMI System Interface driver.
S8.5 Kernel logging (proc) stopped.
@ kernel none linux kvm
B3.2/v loop: module loaded
B3.3/r kvm: disabled by bios
B3.4 Loading iSCSI transport class v2.0-870.
B3.5/v iscsi: registered transport (tcp)
B6.5/v tun: (C) 1999-2004 Max Krasnyansky <maxk@example.com>
@ kernel none linux nfs
B6.8/v RPC: Registered {named UNIX|udp|tcp|tcp NFSv4.1 backchannel} socket transport module.
B7/v FS-Cache: Netfs 'nfs' registered for caching
@ systemd daemon linux
B3.2/v systemd 208 running in system mode. (+PAM +LIBWRAP +AUDIT +SELINUX +IMA +SYSVINIT)
B3.5 Set hostname to <{host}>.
B4/v Mounting {path}...
B4.4/v Mounted {path}.
B4.5/v Activating swap {path}...
B4.7 Reached target Local File Systems.
B8 Reached target Network.
B9 Reached target Remote File Systems.
B16 Reached target Multi-User System.
B17 Startup finished in {float}s (kernel) + {float}s (userspace) = {float}s.
S1 Stopped target Multi-User System.
S1 Stopping {unitname}.service...
S5/v Unmounting {path}...
S5.5/v Unmounted {path}.
S6 Deactivated swap {path}.
S7.5 Shutting down.
@ systemd-logind daemon linux
B8/v New seat seat0.
B8.2/v Watching system buttons on /dev/input/event{n:0-9} (Power Button)
S0.5 System is {rebooting|powering down}.
@ ntpd daemon linux
B9 ntpd 4.2.6p5@1.2349-o {date} (1)
B9.2/r Listen and drop on 0 v4wildcard 0.0.0.0 UDP 123
B9.2/r Listening on routing socket on fd #{n:16-60} for interface updates
S2 ntpd exiting on signal 15
@ sshd fork linux
B10/r Server listening on 0.0.0.0 port 22.
B10/r Server listening on :: port 22.
@ CRON daemon linux
B11/v (CRON) INFO (pidfile fd = {n:3-5})
B11.1/v (CRON) INFO (Running @reboot jobs)
@ libvirtd daemon kvm
B12/r libvirt version: {ver}, package: {n:1-20}.el7 (CentOS BuildSystem <http://bugs.example.org>, {date}, {host})
B12.5/u Module /usr/lib64/libvirt/connection-driver/libvirt_driver_{lxc|uml|xen}.so not accessible
B13/u Failed to autostart storage pool '{word}': internal error: Child process ({cmd}) unexpected exit status {n:1-32}
B13.5/r direct firewall backend requested, but /usr/sbin/ebtables is not available: No such file or directory
S2.4/r End of file while reading data: Input/output error
@ libvirt-guests.sh fork kvm
S0.3 Running guests on default URI: {words}
S0.8 Starting shutdown on guest: {vm}
S4.4 Shutdown of guest {vm} complete.
B15 Resuming guests on default URI...
B16 Resuming guest {vm}: done
@ multipathd daemon kvm shared
B6/v {wwid}: event checker started
B6.1/v path checkers start up
B6.2/r sd{letters} [{n:8-65}:{n:0-240}]: path added to devmap {wwid}
S3/v --------shut down-------
@ iscsid daemon kvm iscsi
B5/v iSCSI daemon with pid={n:300-32000} started!
B5.6 iSCSI logger with pid={n:300-32000} started!
B6/v Connection{n:1-8}:0 to [target: {iqn}, portal: {ip},3260] through [iface: {default|bnx2i}] is operational now
S3.4/v iscsid shutting down.
@ smartd daemon linux
B10 smartd 6.2 2013-07-26 r3841 [x86_64-linux-{ver}] (local build)
B10.3/r Device: /dev/sd{letter}, opened
B10.4/v Device: /dev/sd{letter} [SAT], is SMART capable. Adding to "monitor" list.
B10.6 Monitoring {n:1-12} ATA and {n:0-12} SCSI devices
S2 smartd received signal 15: Terminated
S2.1 smartd is exiting (exit status 0)
@ snmpd daemon linux
B11 Turning on AgentX master support.
B11.4/v NET-SNMP version 5.7.2.1
@ postfix/master daemon linux
B12/r daemon started -- version 2.11.3, configuration {path}
S2/r terminating on signal 15
@ named daemon dns
B9 starting BIND 9.9.5-9-Debian -f -u bind
B9.1 built with '--prefix=/usr' '--mandir=/usr/share/man' {words}
B9.4/v adjusted limit on open files from {n:1000-4096} to {n:40000-1100000}
B9.5 found {n:2-32} CPUs, using {n:2-32} worker threads
B9.8/v listening on IPv4 interface br{n:0-6}, {ip}#53
B10 automatic empty zone: {domain}.in-addr.arpa
B10.5/r zone {domain}/IN: loaded serial {n:2015092601-2015111699}
B10.9/v all zones loaded
B11/v running
S1 received SIGTERM
S2 stopping command channel on 127.0.0.1#953
S3 exiting
@ dhcpd none dhcp
B11/v Internet Systems Consortium DHCP Server 4.3.1
B11.2/v Listening on LPF/br{n:0-6}/{mac}/{ip}/24
B11.3/v Wrote {n:1-9000} leases to leases file.
@ bird daemon box
B9/v Started
S1/v Shutting down
S2/v Shutdown completed
@ shutdown fork linux
S0 shutting down for system {halt|reboot}
@ acpid none linux
B8 starting up with proc fs
B8.1 {n:1-9} rules loaded
S3 exiting
@ corosync daemon kvm shared
B11/v [MAIN  ] Corosync Cluster Engine ('2.3.3'): started and ready to provide service.
B11.5/v [TOTEM ] adding new UDPU member {ip}
S2/v [MAIN  ] Node was shut down by a signal
S2.5/v [SERV  ] Unloading all Corosync service engines.
"""

ALL = (REMOTE, HYPERVISOR, STORAGE, NETWORK, BOOT, DAEMONS, VIRTUAL, DISKS, NETS, ESX, BOOTS)
