"""Glance's tasks as durable jobs, run by one engine per process.

Glance hands a task to a pool of threads in the process that answers: what
waits there is lost with the process, and no node can be taken out without
starting more of it. Here the pool only writes a row. An engine in each process
takes rows when it has a free slot; a stop file keeps it from taking any.

``tables``      the rows, in Glance's database, with an Alembic branch of ours
``owners``      which process that is, and whether it lives
``jobs``        the rows as an object: which job next, and who may take it
``claims``      the claim itself: the only place where a job is taken
``records``     what of Glance's own tables is read and written
``stopfile``    the file of the health check, as Glance itself finds it
``engine``      slots, heartbeats, taking over from the dead, the end
``glance``      where Glance's pools are replaced and its executors are made
``recovery``    an image whose import was cut off, made ready to go on
``residue``     staged files of this node that nobody needs
``doctor``      what is left of the dead, found and repaired by a person

A claim in four steps. Two looks at the file make "touch it, wait until this
node owns nothing" exact: who takes a job after the touch gives it back.

1. look at the stop file;
2. ``owner`` of the row: from nobody to me, in one statement;
3. look at the stop file again, and give the job back if it is there;
4. the task: from pending to processing, in one statement, as its owner.

A job of the dead is fenced before it goes on: it continues as a new task that
gets the image's lock, and the old task fails and says so. Should its process
wake up, Glance's own look at the lock stops it.
"""
