//! Slurm's reasons: what they mean and what to do.

/// A reason of Slurm's (or how several begin, with a `*`), what it means, and what to do; `{id}` is the job.
pub(super) type Reason = (&'static str, &'static str, &'static str);

/// Why a job waits. The first that fits holds.
pub(super) const WAITING: &[Reason] = &[
    (
        "Priority",
        "other jobs are before it",
        "wait; `squeue --start -j {id}` tells Slurm's estimate",
    ),
    (
        "Resources",
        "nothing that it needs is free now",
        "wait; `squeue --start -j {id}` tells Slurm's estimate",
    ),
    (
        "Dependency",
        "it waits for the job before it",
        "wait; it begins when that one has ended",
    ),
    (
        "DependencyNeverSatisfied",
        "the job that it depends on ended the wrong way",
        "`mst cancel` the run, then `mst resume` it",
    ),
    (
        "PartitionDown",
        "its partition is down",
        "wait for the administrators, or name another partition in the cluster profile",
    ),
    (
        "PartitionInactive",
        "its partition starts no jobs",
        "wait for the administrators, or name another partition in the cluster profile",
    ),
    (
        "PartitionTimeLimit",
        "it asks for more time than its partition gives",
        "`mst cancel` the run, then `mst resume --time LIMIT` with less (WALLTIME and the profile are for new runs): it goes on in further jobs",
    ),
    (
        "PartitionNodeLimit",
        "it asks for more nodes than its partition gives",
        "`mst cancel` the run; ask for fewer nodes or name another partition in the cluster profile, and `mst submit` again",
    ),
    (
        "PartitionConfig",
        "its partition cannot run such a job",
        "compare the cluster profile with `scontrol show partition`",
    ),
    (
        "AccountNotAllowed",
        "its account may not use the partition",
        "name another account or partition in the cluster profile",
    ),
    (
        "QOSNotAllowed",
        "its QOS may not be used there",
        "name another QOS in the cluster profile; `sacctmgr show assoc user=$USER` lists yours",
    ),
    (
        "QOSMaxWallDurationPerJobLimit",
        "it asks for more time than its QOS gives",
        "`mst cancel` the run, then `mst resume --time LIMIT` with less (WALLTIME and the profile are for new runs)",
    ),
    (
        "QOSMaxJobs*",
        "as many of your jobs run as the QOS lets",
        "wait for one of them to end",
    ),
    (
        "QOSMaxSubmit*",
        "you have as many jobs in the queue as the QOS lets",
        "wait for one of them to end",
    ),
    (
        "QOSJobLimit",
        "as many of your jobs run as the QOS lets",
        "wait for one of them to end",
    ),
    (
        "QOSResourceLimit",
        "your jobs hold as much as the QOS lets",
        "wait for one of them to end, or ask for less in the cluster profile",
    ),
    (
        "QOSTimeLimit",
        "your jobs used the time that the QOS gives",
        "wait, or name another QOS in the cluster profile",
    ),
    (
        "QOSUsageThreshold",
        "the usage of its account is above the QOS's threshold",
        "wait, or name another QOS or account in the cluster profile",
    ),
    (
        "QOSMin*",
        "it asks for less than its QOS is made for",
        "name another QOS in the cluster profile",
    ),
    (
        "QOSMax*PerUser*",
        "your jobs hold as much as the QOS lets",
        "wait for one of them to end, or ask for less in the cluster profile",
    ),
    (
        "QOSMax*",
        "it asks for more than its QOS lets",
        "ask for less, or name another QOS in the cluster profile",
    ),
    (
        "QOSGrp*",
        "all jobs of this QOS together hold as much as it lets",
        "wait for others' jobs to end",
    ),
    (
        "AssocGrp*",
        "all jobs of its account together hold as much as it may",
        "wait for others' jobs to end, or name another account in the cluster profile",
    ),
    (
        "AssocMaxJobs*",
        "as many of your jobs run as the account lets",
        "wait for one of them to end",
    ),
    (
        "AssocMaxWallDurationPerJobLimit",
        "it asks for more time than its account gives",
        "`mst cancel` the run, then `mst resume --time LIMIT` with less (WALLTIME and the profile are for new runs)",
    ),
    (
        "AssociationJobLimit",
        "as many of your jobs run as the account lets",
        "wait for one of them to end",
    ),
    (
        "AssociationResourceLimit",
        "your jobs hold as much as the account lets",
        "wait for one of them to end, or ask for less in the cluster profile",
    ),
    (
        "AssociationTimeLimit",
        "your account used its time",
        "name another account in the cluster profile, or ask for more time",
    ),
    (
        "Assoc*",
        "a limit of its account or of yours is reached",
        "wait, or name another account in the cluster profile; `sacctmgr show assoc user=$USER` lists the limits",
    ),
    (
        "Max*PerAccount",
        "the account's jobs hold as much as the limit lets",
        "wait for one of them to end",
    ),
    (
        "ReqNodeNotAvail*",
        "nodes that it names are down, drained or reserved",
        "wait, or leave NODE_LIST empty; `sinfo -R` tells why",
    ),
    (
        "Nodes required for job are DOWN*",
        "the nodes that it needs are down, drained or kept for others",
        "wait, or ask for less in the cluster profile; `sinfo -R` tells why",
    ),
    (
        "BeginTime",
        "it may not begin yet",
        "wait; a job that was put back into the queue may begin again after two minutes",
    ),
    ("Cleaning", "it is being put back into the queue", "wait"),
    ("JobHeldUser", "it is held", "`scontrol release {id}` lets it go"),
    (
        "JobHeldAdmin",
        "an administrator holds it",
        "ask the administrators",
    ),
    (
        "JobHoldMaxRequeue",
        "it was put back into the queue too often",
        "`mst logs` tells what happened; then `scontrol release {id}`",
    ),
    (
        "launch failed requeued held",
        "it could not be started on its node and is held",
        "`scontrol release {id}` lets it go; tell the administrators about the node if it happens again",
    ),
    (
        "job requeued in held state*",
        "it was put back into the queue and is held",
        "`scontrol release {id}` lets it go",
    ),
    (
        "JobArrayTaskLimit",
        "as many tasks of the array run as its throttle lets",
        "wait, or raise it: `scontrol update jobid={id} ArrayTaskThrottle=N`",
    ),
    ("Licenses", "a licence that it needs is in use", "wait"),
    (
        "NodeDown",
        "a node that it needs is down",
        "wait, or leave NODE_LIST empty; `sinfo -R` tells why",
    ),
    (
        "BadConstraints",
        "no node is as it asks for",
        "mend `constraint` or the resources in the cluster profile; `sinfo -o '%P %f %G %c %m'` shows what there is",
    ),
    (
        "FeatureNotAvailable",
        "no node has the feature that it asks for",
        "mend `constraint` in the cluster profile; `sinfo -o '%P %f'` lists features",
    ),
    (
        "InvalidAccount",
        "its account is not valid",
        "mend `account` in the cluster profile; `sacctmgr show assoc user=$USER` lists yours",
    ),
    (
        "InvalidQOS",
        "its QOS is not valid",
        "mend `qos` in the cluster profile; `sacctmgr show assoc user=$USER` lists yours",
    ),
    (
        "Reservation",
        "it waits for its reservation to begin",
        "wait; `scontrol show reservation` tells when",
    ),
    (
        "ReservationDeleted",
        "its reservation is gone",
        "`mst cancel` the run; take the reservation out of the cluster profile, and `mst submit` again",
    ),
    ("Prolog", "its nodes are being prepared", "wait"),
    (
        "FrontEndDown",
        "no front end node is there for it",
        "wait for the administrators",
    ),
    (
        "SystemFailure",
        "Slurm, the file system or the network failed",
        "wait; if it stays so, ask the administrators",
    ),
    (
        "JobLaunchFailure",
        "it could not be started",
        "`scontrol show job {id}` tells more; check the folders of the run and its output",
    ),
    ("BurstBuffer*", "its burst buffer is not ready", "wait"),
    ("Power*", "the cluster's power is limited", "wait"),
    (
        "ResvTooLong",
        "it asks for more time than its reservation lasts",
        "`mst cancel` the run, then `mst resume --time LIMIT` with less",
    ),
    (
        "DeadLine",
        "it can no longer end before its deadline",
        "`mst cancel` the run and submit it again",
    ),
];

/// How a job ended, and what to do; nothing for those that ended well.
pub(super) const ENDED: &[Reason] = &[
    (
        "OUT_OF_MEMORY",
        "it needed more memory than it had",
        "raise `mem` in the cluster profile and `mst submit` again: what is measured is kept; `mst resume {run}` would ask for the same",
    ),
    (
        "TIMEOUT",
        "its time limit came before it could hand over",
        "`mst resume {run}` goes on; with a larger WALLTIME_MARGIN it hands over itself",
    ),
    ("NODE_FAIL", "its node died", "`mst resume {run}` goes on"),
    (
        "PREEMPTED",
        "another job took its place",
        "`mst resume {run}` goes on; with `requeue: true` in the cluster profile it goes on by itself",
    ),
    (
        "BOOT_FAIL",
        "its node did not start",
        "`mst resume {run}` goes on",
    ),
    ("DEADLINE", "its deadline came", "`mst resume {run}` goes on"),
    ("REVOKED", "another cluster took it", "`mst resume {run}` goes on"),
    ("CANCELLED", "somebody cancelled it", "`mst resume {run}` goes on"),
    (
        "FAILED",
        "it failed",
        "`mst logs {run}` tells why; after mending, `mst resume {run}` goes on",
    ),
    (
        "SUSPENDED",
        "it stands still",
        "wait; the trial that ran is measured again",
    ),
    (
        "STOPPED",
        "it stands still",
        "wait; the trial that ran is measured again",
    ),
];
